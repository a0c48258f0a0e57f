package lucidrains

import (
	"fmt"
	"strings"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/usage"
)

// Exported says what an export wrote.
type Exported struct {
	Path    string   `json:"path"`
	From    string   `json:"from"` // the checkpoint's folder
	Step    int      `json:"step"`
	Average bool     `json:"average"` // the weights are the average, which evaluation uses
	Tensors int      `json:"tensors"` // parameters written; discriminators not counted
	Notes   []string `json:"notes"`
}

func (r *Exported) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Forms that Export writes.
const (
	ToLucidrains        = "lucidrains"         // a tokenizer file of magvit2-pytorch, with the weights that evaluation uses
	ToLucidrainsTrainer = "lucidrains-trainer" // a trainer file of magvit2-pytorch
	ToSafetensors       = "safetensors"        // one file: the weights that evaluation uses, configuration in its metadata
	ToLean              = "lean"               // a checkpoint's folder without average and optimizer
)

// export is a checkpoint to be written for the reference.
type export struct {
	*checkpoint.Opened
	tok *model.Tokenizer
}

// Export writes the checkpoint at a path (see OpenCodec) in another form. A file at
// out is replaced at once, when all is written; a folder must be empty. Errors that
// the user caused wrap usage.Error; the one for a configuration that magvit2-pytorch
// cannot express names the keys.
func Export(path, out, form string) (Exported, error) {
	r := Exported{Path: out, Notes: []string{}}
	x, err := checkpoint.Open(path)
	if err != nil {
		return r, err
	}
	for _, s := range x.Skipped {
		r.note("checkpoint passed over: %v", s)
	}
	r.From, r.Step, r.Tensors, r.Average = x.Dir, x.Snapshot.Step, len(x.Params), x.Averaged() && form != ToLucidrainsTrainer
	switch form {
	case ToSafetensors:
		return r, x.WriteSafetensors(out)
	case ToLean:
		return r, x.WriteLean(out)
	case ToLucidrains, ToLucidrainsTrainer:
		tok, ok := x.Net.(*model.Tokenizer)
		if !ok {
			return r, usage.Errorf("checkpoint %s: not a tokenizer: it has no codes of its own; magvit2-pytorch has tokenizers only", path)
		}
		if form == ToLucidrains {
			return r, export{x, tok}.toTokenizer(out, &r)
		}
		return r, export{x, tok}.toTrainer(out, &r)
	}
	return r, usage.Errorf("export to %q: want %s", form, strings.Join([]string{ToLucidrains, ToLucidrainsTrainer, model.OpenMagvit2, model.VidTok, model.Cosmos, ToSafetensors, ToLean, "onnx"}, ", "))
}
