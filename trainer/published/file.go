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
	for _, format := range []struct {
		is   func(path string) bool
		open func(path string) ([]torchfile.NamedTensor, func() error, error)
	}{{torchfile.IsIndex, torchfile.OpenSharded}, {torchfile.IsSafetensors, torchfile.OpenSafetensors}} {
		if !format.is(path) {
			continue
		}
		list, closeFile, err := format.open(path)
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
	list = slices.Clone(list)
	for i, t := range list {
		if head, joined, ok := strings.Cut(t.Name, averages); ok {
			list[i].Name = head + averages + torchfile.UnwrapJoined(joined)
		}
	}
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

// narrow leaves the tensors under a prefix, without it, and names the others among the rest. Averages
// that a larger module keeps of these tensors count as theirs.
func (f *file) narrow(prefix string) {
	own := f.tensors.within(prefix)
	var others []string
	joined := map[string]bool{}
	for name := range own {
		joined[averageName(name)] = true
	}
	for name, t := range f.tensors {
		if strings.HasPrefix(name, prefix) {
			continue
		}
		if rest, ok := strings.CutPrefix(name, averages); ok {
			if a := averages + strings.TrimPrefix(rest, strings.ReplaceAll(prefix, ".", "")); joined[a] && own[a] == nil {
				own[a] = t
				continue
			}
		}
		others = append(others, name)
	}
	f.tensors, f.rest = own, append(groups(others), f.rest...)
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
