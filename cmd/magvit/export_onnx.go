package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/model"
	"magvit/model/onnx"
	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/codes"
)

// toONNX is the form of export that writes a folder of two models.
const toONNX = "onnx"

// onnxExported is what export --to onnx prints.
type onnxExported struct {
	Path   string   `json:"path"`
	From   string   `json:"from"` // the checkpoint's folder
	Step   int      `json:"step"`
	Opset  int      `json:"opset"`
	Files  []string `json:"files"`
	Frames int      `json:"min_frames"`
	Side   int      `json:"min_side"`
	Notes  []string `json:"notes"`
}

// exportONNX writes the encoder and the decoder of a checkpoint into a new or empty folder.
func exportONNX(c *cli.Context, path, out string) error {
	x, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	tok, ok := x.Net.(*model.Tokenizer)
	if !ok {
		return usagef("checkpoint %s: not a tokenizer; export --to onnx writes tokenizers", path)
	}
	if err := checkpoint.EmptyOrAbsent(out); err != nil {
		return err
	}
	weights, err := x.Weights()
	if err != nil {
		return err
	}
	values := func(i int) ([]float32, error) {
		return weights[x.Offsets[i]:][:tok.Params[i].Len()], nil
	}
	r := onnxExported{Path: out, From: x.Dir, Step: x.Snapshot.Step, Opset: onnx.Opset, Notes: []string{}}
	for _, s := range x.Skipped {
		r.Notes = append(r.Notes, fmt.Sprintf("checkpoint passed over: %v", s))
	}
	models, err := onnxModels(tok, model.Shape{N: 1, T: tok.Padded(x.Config.Data.Frames), H: x.Config.Data.Height, W: x.Config.Data.Width},
		map[string]string{"step": fmt.Sprint(r.Step), "tokenizer_sha256": checkpoint.Hash(weights)})
	if err != nil {
		return err
	}
	for _, m := range models {
		r.Frames, r.Side = max(r.Frames, m.MinFrames), max(r.Side, m.MinSide)
		if m.Fixed != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: works for one size of %s only", m.Name, strings.Join(m.Fixed, ", ")))
		}
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(out)), 0o777); err != nil {
		return err
	}
	err = atomicfile.WriteDir(out, func(dir string) error {
		for _, m := range models {
			if err := m.Write(dir, values); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		r.Files = append(r.Files, e.Name())
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	lines := []string{fmt.Sprintf("%s: step %d", r.From, r.Step)}
	for _, n := range r.Notes {
		lines = append(lines, "note: "+n)
	}
	return printLine(c.App.Writer, "%s\n%s: %s written, opset %d, for clips of %d frames and %d pixels a side or more",
		strings.Join(lines, "\n"), out, strings.Join(r.Files, ", "), r.Opset, r.Frames, r.Side)
}

// onnxModels are the encoder and the decoder with what is known of their codes.
func onnxModels(tok *model.Tokenizer, trained model.Shape, about map[string]string) ([]*onnx.Model, error) {
	about["digit_order"] = codes.DigitOrder
	if order := bitOrder(tok); order != "" {
		about["bit_order"] = order
	}
	encoder, err := onnx.Encoder(tok, trained, about)
	if err != nil {
		return nil, err
	}
	decoder, err := onnx.Decoder(tok, trained, about)
	return []*onnx.Model{encoder, decoder}, err
}

// bitOrder is Header.BitOrder of a tokenizer's codes.
func bitOrder(tok *model.Tokenizer) string {
	switch {
	case len(tok.CodebookLevels()) < 2:
		return ""
	case tok.FirstChannelLowest():
		return codes.FirstLowest
	}
	return codes.FirstHighest
}
