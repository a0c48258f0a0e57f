package published

import (
	"maps"
	"slices"
	"strings"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// Description says what a checkpoint file is.
type Description struct {
	File     string           `json:"file"`
	Family   string           `json:"family"` // "": unknown
	Network  *model.Published `json:"network,omitempty"`
	Width    int              `json:"width,omitempty"`  // channels of the first convolution
	Digits   int              `json:"digits,omitempty"` // of a code: bits, or levels
	Average  bool             `json:"average"`          // it holds averages of the weights
	Key      string           `json:"key"`              // of the state dict in the file; "": the file is the state dict
	Groups   []string         `json:"groups"`           // of tensors, with their number
	Other    []string         `json:"other"`            // keys of the file besides the state dict's
	Tensors  int              `json:"tensors"`
	Values   int              `json:"values"`
	Types    []string         `json:"types"`
	Own      string           `json:"own,omitempty"`     // the file is of this program: of which step, and what takes it
	Unknown  string           `json:"unknown,omitempty"` // why the family is not known, and what to do
	Mismatch string           `json:"mismatch,omitempty"`
}

// Describe reads the names and shapes of a checkpoint file's tensors.
func Describe(path string) (d Description, err error) {
	f, err := open(path)
	if err != nil {
		return d, usage.Errorf("%s: %w", path, err)
	}
	defer f.close()
	names := slices.Sorted(maps.Keys(f.tensors))
	d = Description{File: path, Key: f.key, Groups: groups(names), Other: append(f.rest, f.otherEntries()...), Tensors: len(names)}
	types := map[string]bool{}
	for _, t := range f.tensors {
		d.Values += t.Len()
		types[string(t.Dtype)] = true
	}
	d.Types = slices.Sorted(maps.Keys(types))
	d.Average = slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, averages) })
	if meta, err := torchfile.SafetensorsMetadata(path); err == nil && meta["format"] == "magvit" {
		d.Own = "weights of this program, of step " + meta["step"] + ": train --init takes them; eval, encode and export take the folder of a checkpoint or its run"
	}
	n, ok, err := recognise(f.tensors)
	switch {
	case !ok && d.Own != "":
	case !ok:
		d.Unknown = unknown(f).Error()
	case err != nil:
		d.Family, d.Mismatch = n.family, err.Error()
	default:
		if n.family == model.Cosmos {
			err = ImportOptions{File: path}.cosmosFactors(&n, &Imported{})
		}
		d.Family, d.Network, d.Width, d.Digits = n.family, &n.size, n.width, n.bits
		if err == nil {
			err = f.fits(n)
		}
		if err != nil {
			d.Mismatch = err.Error()
		}
	}
	return d, nil
}

// fits is an error unless the file has all tensors of a network that was recognised in it. The versions of VidTok
// have the same.
func (f *file) fits(n network) error {
	f.narrow(n.prefix)
	c, err := n.config("1.0", nil)
	if err != nil {
		return err
	}
	net, err := model.New(c)
	if err != nil {
		return err
	}
	if n.family == model.Cosmos {
		f.leaveUnused(net)
	}
	_, err = ImportOptions{}.match(f, checkpoint.NewLayout(net), &Imported{})
	return err
}
