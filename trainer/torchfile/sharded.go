package torchfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxIndex bounds the size of the index of a sharded checkpoint.
const maxIndex = 64 << 20

// IsIndex reports whether a path is the index of a sharded checkpoint as Hugging Face's libraries
// write it: NAME.safetensors.index.json or NAME.bin.index.json.
func IsIndex(path string) bool {
	name := strings.ToLower(path)
	return strings.HasSuffix(name, ".safetensors.index.json") || strings.HasSuffix(name, ".bin.index.json")
}

// OpenSharded reads the index of a sharded checkpoint and the structure of its files, which are in
// its folder; tensors are read when they are asked for, until close is called. They are sorted by
// name. A tensor that is not in the file that the index names, and one that the index does not
// name, are errors.
func OpenSharded(path string) (list []NamedTensor, closeFiles func() error, err error) {
	byFile, err := readIndex(path)
	if err != nil {
		return nil, nil, err
	}
	var closers []func() error
	closeFiles = func() (err error) {
		for _, c := range closers {
			err = errors.Join(err, c())
		}
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		shard, closeShard, err := openShard(filepath.Join(filepath.Dir(path), file))
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", file, err), closeFiles())
		}
		closers = append(closers, closeShard)
		if err := sameNames(shard, byFile[file]); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", file, err), closeFiles())
		}
		list = append(list, shard...)
	}
	slices.SortFunc(list, func(a, b NamedTensor) int { return strings.Compare(a.Name, b.Name) })
	return list, closeFiles, nil
}

// readIndex gives the names of the tensors of each file.
func readIndex(path string) (byFile map[string][]string, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxIndex {
		return nil, fmt.Errorf("an index of %d bytes; %d are the most", st.Size(), maxIndex)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("not the index of a sharded checkpoint: %w", err)
	}
	if len(index.Files) == 0 {
		return nil, fmt.Errorf("not the index of a sharded checkpoint: want a weight_map of tensors to files")
	}
	byFile = map[string][]string{}
	for name, file := range index.Files {
		if file != filepath.Base(file) || IsIndex(file) {
			return nil, fmt.Errorf("weight_map: %.100q is in %.100q; want the name of a file in the folder of the index", name, file)
		}
		byFile[file] = append(byFile[file], name)
	}
	return byFile, nil
}

func openShard(path string) (list []NamedTensor, closeShard func() error, err error) {
	if IsSafetensors(path) {
		return OpenSafetensors(path)
	}
	f, err := Open(path, Limits{})
	if err != nil {
		return nil, nil, err
	}
	state, err := f.StateDict()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return state.Tensors, f.Close, nil
}

// sameNames is an error unless a shard has the tensors that the index names.
func sameNames(shard []NamedTensor, names []string) error {
	indexed := map[string]bool{}
	for _, name := range names {
		indexed[name] = true
	}
	for _, t := range shard {
		if !indexed[t.Name] {
			return fmt.Errorf("it has %.100q, which the index does not name there", t.Name)
		}
		delete(indexed, t.Name)
	}
	if missing := slices.Sorted(maps.Keys(indexed)); len(missing) > 0 {
		return fmt.Errorf("it has no %s, which the index names there", Brief(missing, ", "))
	}
	return nil
}
