package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"magvit/model"
	"magvit/trainer/config"
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

// exportable is a checkpoint that was read for an export.
type exportable struct {
	table
	tok     *model.Tokenizer
	cfg     config.Config
	dir     string
	snap    snapshot
	tensors map[string]tensor
}

func openExportable(path string) (x exportable, skipped []error, err error) {
	if x.dir, x.snap, skipped, err = checkpointDir(path); err != nil {
		return x, skipped, err
	}
	if x.cfg, err = x.snap.config(filepath.Join(x.dir, stateFile)); err != nil {
		return x, skipped, err
	}
	if x.tok, err = model.New(x.cfg.Model); err != nil {
		return x, skipped, usage.Wrap(err)
	}
	x.table = newTable(x.tok)
	if x.tensors, err = readTensors(filepath.Join(x.dir, modelFile)); err != nil {
		return x, skipped, usage.Wrap(err)
	}
	return x, skipped, nil
}

// averaged says whether the checkpoint holds an average.
func (x exportable) averaged() bool {
	return len(x.params) > 0 && x.tensors[emaPrefix+x.params[0].Name].name != ""
}

// weights is the arena that evaluation uses.
func (x exportable) weights() ([]float32, error) {
	prefix := ""
	if x.averaged() {
		prefix = emaPrefix
	}
	return x.arena(prefix)
}

func (x exportable) arena(prefix string) ([]float32, error) {
	a, err := x.fill(x.tensors, prefix)
	if err == nil {
		if bad := x.bad(a); bad != "" {
			err = usage.Errorf("%s%s is not finite", prefix, bad)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(x.dir, modelFile), err)
	}
	return a, nil
}

// named is the parameters of an arena in our shapes.
func (x exportable) named(arena []float32) (list []tensor) {
	for i, p := range x.params {
		list = append(list, tensor{p.Name, p.Shape, x.part(arena, i)})
	}
	return list
}

// Export writes the checkpoint at a path (see OpenCodec) in another form. A file at
// out is replaced at once, when all is written; a folder must be empty. Errors that
// the user caused wrap usage.Error; the one for a configuration that magvit2-pytorch
// cannot express names the keys.
func Export(path, out, form string) (Exported, error) {
	r := Exported{Path: out, Notes: []string{}}
	x, skipped, err := openExportable(path)
	if err != nil {
		return r, err
	}
	for _, s := range skipped {
		r.note("checkpoint passed over: %v", s)
	}
	r.From, r.Step, r.Tensors, r.Average = x.dir, x.snap.Step, len(x.params), x.averaged() && form != ToLucidrainsTrainer
	switch form {
	case ToLucidrains:
		return r, x.toTokenizer(out, &r)
	case ToLucidrainsTrainer:
		return r, x.toTrainer(out, &r)
	case ToSafetensors:
		return r, x.toSafetensors(out)
	case ToLean:
		return r, aside(out, x.toLean)
	}
	return r, usage.Errorf("export to %q: want %s", form, strings.Join([]string{ToLucidrains, ToLucidrainsTrainer, ToSafetensors, ToLean}, ", "))
}

// toSafetensors writes one file of the weights that evaluation uses.
func (x exportable) toSafetensors(out string) error {
	weights, err := x.weights()
	if err != nil {
		return err
	}
	config, err := json.Marshal(x.snap.Config)
	if err != nil {
		return err
	}
	meta := map[string]string{"format": "magvit", "step": strconv.Itoa(x.snap.Step), "config": string(config),
		"layout": "names of magvit2-pytorch; convolutions O,KT,KH,KW,C"}
	return writeFile(out, func(w io.Writer) error { return writeTensors(w, x.named(weights), meta) })
}

// toLean writes a checkpoint's folder that can be used and not gone on with.
func (x exportable) toLean(dir string) error {
	weights, err := x.weights()
	if err != nil {
		return err
	}
	s, snap := newStore(dir), x.snap
	d, err := s.put(filepath.Join(dir, modelFile), func(w io.Writer) error {
		return writeTensors(w, x.named(weights), map[string]string{"format": "magvit", "step": strconv.Itoa(snap.Step)})
	})
	if err != nil {
		return err
	}
	snap.Files = map[string]digest{modelFile: d}
	text, err := json.MarshalIndent(snap, "", "  ")
	if err != nil {
		return err
	}
	if _, err = s.put(filepath.Join(dir, stateFile), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err }); err != nil {
		return err
	}
	_, err = verify(dir)
	return errors.Join(err, syncDir(dir))
}

// writeFile makes or replaces a file when all of it is written.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return usage.Errorf("%s is no file: want the name of a file to write", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return usage.Errorf("%s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-")
	if err != nil {
		return usage.Errorf("%s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	err = write(f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
