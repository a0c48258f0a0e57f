package published

import (
	"fmt"
	"io"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/torchfile"
	"magvit/trainer/usage"
)

// Exported says what an export wrote.
type Exported struct {
	Path    string   `json:"path"`
	From    string   `json:"from"` // the checkpoint's folder
	Step    int      `json:"step"`
	Average bool     `json:"average"` // the weights are the average, which evaluation uses
	Tensors int      `json:"tensors"`
	Notes   []string `json:"notes"`
}

// Export writes the weights that evaluation uses of the checkpoint at a path, under the names
// and shapes of its family: a torch file of {"state_dict": ...}, or .safetensors by the
// extension. Neither discriminator nor perceptual network is written; both projects load such
// files without them.
func Export(path, out, family string) (r Exported, err error) {
	r = Exported{Path: out, Notes: []string{}}
	x, err := checkpoint.Open(path)
	if err != nil {
		return r, err
	}
	for _, s := range x.Skipped {
		r.Notes = append(r.Notes, fmt.Sprintf("checkpoint passed over: %v", s))
	}
	if x.Config.Model.Compat != family {
		return r, usage.Errorf("export --to %s: the checkpoint's model.compat is %q: want %s, the only networks that have its tensors", family, x.Config.Model.Compat, family)
	}
	if m := x.Config.Model; m.Patch > 1 && family != model.Cosmos || m.Background != 0 || m.Quantizer.Kind != quantizerOf[family] || family == model.OpenMagvit2 && (m.Published.Norm == "layer" || m.Published.Norm == "none" || m.Published.TimeKernel == 1) {
		return r, usage.Errorf("export --to %s: the network has patch %d, background %v, quantizer %s, published.norm %q and published.time_kernel %d: want 1, 0, %s, the project's norm and 3, as its networks have",
			family, m.Patch, m.Background, m.Quantizer.Kind, m.Published.Norm, m.Published.TimeKernel, quantizerOf[family])
	}
	weights, err := x.Weights()
	if err != nil {
		return r, err
	}
	r.From, r.Step, r.Tensors, r.Average = x.Dir, x.Snapshot.Step, len(x.Params), x.Averaged()
	if v := x.Config.Model.Published.Version; v != "" {
		r.Notes = append(r.Notes, "VidTok version "+v+": the file does not say so, its configuration must")
	}
	if m := x.Config.Model; family == model.Cosmos {
		r.Notes = append(r.Notes, fmt.Sprintf("a network of %dx%dx%d with patches of %d: the file does not say so, its configuration must; constants of the wavelets, which NVIDIA's newer code keeps among the tensors, are not written: load it with strict=False there",
			m.Published.TimeFactor, m.Published.SpaceFactor, m.Published.SpaceFactor, m.Patch))
	}
	state := func(i int) (name string, shape []int, values []float32) {
		p := x.Params[i]
		values = make([]float32, p.Len())
		p.ToReference(values, x.Part(weights, i))
		return p.Name, p.Reference, values
	}
	return r, checkpoint.WriteFile(out, func(w io.Writer) error {
		if torchfile.IsSafetensors(out) {
			var list []checkpoint.Tensor
			for i := range x.Params {
				name, shape, values := state(i)
				list = append(list, checkpoint.Tensor{Name: name, Shape: shape, Values: values})
			}
			return checkpoint.WriteTensors(w, list, map[string]string{"format": "pt"})
		}
		dict := &torchfile.Dict{Ordered: true}
		for i := range x.Params {
			name, shape, values := state(i)
			t, err := torchfile.FromFloat32(shape, values)
			if err != nil {
				return err
			}
			dict.Set(name, t)
		}
		return torchfile.Write(w, torchfile.NewDict().Set("state_dict", dict))
	})
}

// Families are those that Import and Export know.
func Families() []string { return []string{model.OpenMagvit2, model.VidTok, model.Cosmos} }

// quantizerOf is the quantizer of the projects' own networks.
var quantizerOf = map[string]string{model.OpenMagvit2: "lfq", model.VidTok: "fsq", model.Cosmos: "fsq"}
