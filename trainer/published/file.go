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
	others  map[string]string // entries of the state dict that are not tensors, and what they are
	key     string            // of the state dict; "": the file is the state dict
	rest    []string          // keys of the file besides the state dict's
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
		return newFile(torchfile.State{Tensors: list}, nil, closeFile)
	}
	f, err := torchfile.Open(path, torchfile.Limits{})
	if err != nil {
		return nil, err
	}
	state, err := f.StateDict()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newFile(state, beside(f.Root, state.Key), f.Close)
}

// beside names the keys of the dicts on the way to a state dict, but for those that lead there.
func beside(root any, path string) (rest []string) {
	before := ""
	for _, key := range strings.Split(path, ".") {
		d, ok := root.(*torchfile.Dict)
		if !ok || path == "" {
			break
		}
		for _, e := range d.Entries {
			if name := fmt.Sprint(e.Key); name != key {
				rest = append(rest, before+name)
			}
		}
		root, _ = d.Get(key)
		before += key + "."
	}
	return rest
}

func newFile(s torchfile.State, rest []string, closeFile func() error) (*file, error) {
	list, err := torchfile.UnwrapAll(ownNames(s.Tensors))
	if err != nil {
		return nil, errors.Join(err, closeFile())
	}
	f := &file{tensors{}, map[string]string{}, s.Key, rest, closeFile}
	for _, t := range list {
		f.tensors[t.Name] = t.Tensor
	}
	for name, what := range s.Others {
		f.others[torchfile.Unwrap(ownName(name))] = what
	}
	return f, nil
}

// otherEntries says what the state dict holds besides tensors.
func (f *file) otherEntries() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(f.others)) {
		list = append(list, fmt.Sprintf("%.100s (%s)", name, f.others[name]))
	}
	return list
}

// ownName is a tensor's name without the components that DataParallel and DistributedDataParallel insert where
// they wrap a part of a network; no network of these families has such names.
func ownName(name string) string {
	parts := strings.Split(name, ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "module" }), ".")
}

// ownNames are tensors under their own names. Of an average, whose name is that of a tensor of the same module with all dots
// removed, the tensor's; wrappers are in both.
func ownNames(tensors []torchfile.NamedTensor) []torchfile.NamedTensor {
	list := slices.Clone(tensors)
	own := map[string]map[string]string{} // by the module that keeps averages: joined names to those without wrappers
	for i, t := range list {
		head, joined, ok := strings.Cut(t.Name, averages)
		if !ok {
			list[i].Name = ownName(t.Name)
			continue
		}
		if own[head] == nil {
			own[head] = map[string]string{}
			for _, t := range tensors {
				if name, ok := strings.CutPrefix(t.Name, head); ok && !strings.Contains(name, averages) {
					own[head][strings.ReplaceAll(name, ".", "")] = strings.ReplaceAll(torchfile.Unwrap(ownName(name)), ".", "")
				}
			}
		}
		name, ok := own[head][joined]
		if !ok {
			name = torchfile.UnwrapJoined(joined)
		}
		list[i].Name = ownName(head) + averages + name
	}
	return list
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
	kept := map[string]string{}
	for name, what := range f.others {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			kept[rest] = what
		} else {
			others = append(others, name)
		}
	}
	f.tensors, f.others, f.rest = own, kept, append(groups(others), f.rest...)
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
