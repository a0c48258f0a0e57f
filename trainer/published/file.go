package published

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"magvit/trainer/torchfile"
)

// file is an open checkpoint.
type file struct {
	tensors tensors
	key     string   // of the state dict; "": the file is the state dict
	rest    []string // keys of the file besides the state dict's
	close   func() error
}

// open reads the structure of a file; tensors are read later, until it is closed.
func open(path string) (*file, error) {
	if torchfile.IsSafetensors(path) {
		list, closeFile, err := torchfile.OpenSafetensors(path)
		if err != nil {
			return nil, err
		}
		return newFile(list, "", nil, closeFile)
	}
	f, err := torchfile.Open(path, torchfile.Limits{})
	if err != nil {
		return nil, err
	}
	list, key, err := f.StateDict()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var rest []string
	if root, ok := f.Root.(*torchfile.Dict); ok && key != "" {
		for _, e := range root.Entries {
			if name := fmt.Sprint(e.Key); name != key {
				rest = append(rest, name)
			}
		}
	}
	return newFile(list, key, rest, f.Close)
}

func newFile(list []torchfile.NamedTensor, key string, rest []string, closeFile func() error) (*file, error) {
	list, err := torchfile.UnwrapAll(list)
	if err != nil {
		return nil, errors.Join(err, closeFile())
	}
	f := &file{tensors{}, key, rest, closeFile}
	for _, t := range list {
		f.tensors[t.Name] = t.Tensor
	}
	return f, nil
}

// groups counts tensors by the first component of their names, and of those of the loss by
// the first two.
func groups(names []string) (list []string) {
	count := map[string]int{}
	for _, name := range names {
		parts := strings.SplitN(name, ".", 3)
		n := 1
		if parts[0] == "loss" {
			n = 2
		}
		count[strings.Join(parts[:min(n, len(parts))], ".")]++
	}
	for _, g := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%s (%d)", g, count[g]))
	}
	return list
}
