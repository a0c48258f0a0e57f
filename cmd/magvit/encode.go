package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

func encodeCommand() *cli.Command {
	return &cli.Command{
		Name:        "encode",
		Usage:       "turn clips into integer codes",
		Description: example("magvit encode --checkpoint runs/demo --data clips.npz --out codes.npz"),
		Flags: workFlags("all", append(append(clipFlags(), jsonFlag()),
			&cli.StringFlag{Name: "out", Usage: "the .npz `FILE` to write: codes int32 [N,T',H',W'] (and an axis of codebooks, if there are several), names, labels, frames, and the tokenizer, quantizer and clips that they come from; an existing file is replaced"})...),
		Action: encode,
	}
}

func encode(c *cli.Context) error {
	if err := need(c, "checkpoint", "data", "out"); err != nil {
		return err
	}
	out := c.String("out")
	if err := checkOut(out, ".npz"); err != nil {
		return err
	}
	if err := protect(out, "--out", append(c.StringSlice("data"), checkpointInputs(c)...)...); err != nil {
		return err
	}
	w, err := openWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.choose(); err != nil {
		return err
	}
	var l data.Metadata
	var all []int32
	var shape [5]int
	var video data.Shape
	var rates []float32
	var spans []int32
	err = w.each(func(b *data.Batch, codes []int32, per int) (err error) {
		video = b.Shape()
		if shape, err = w.codec.CodeShape(b.Shape()); err != nil {
			return err
		}
		for n, i := range b.Index {
			if i >= 0 {
				all = append(all, codes[n*per:][:per]...)
				l.Add(b.Names[n], b.Labels[n], b.Frames[n])
				fps, err := w.rate(i)
				if err != nil {
					return err
				}
				rates, spans = append(rates, float32(fps)), append(spans, int32(b.Span[n][0]), int32(b.Span[n][1]))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.Len() == 0 {
		return usagef("none of %d clips can be read; nothing was written", len(w.indices))
	}
	shape[0] = l.Len()
	axes := shape[:]
	if shape[4] == 1 {
		axes = shape[:4]
	}
	arrays := append([]data.Array{{Name: "codes", Shape: axes, Data: all}}, l.Arrays(w.src.Classes())...)
	arrays = append(arrays, data.Array{Name: "fps", Shape: []int{l.Len()}, Data: rates}, data.Array{Name: "frame_range", Shape: []int{l.Len(), 2}, Data: spans})
	from, err := origin(w.codec, c.StringSlice("data"), c.String("split"), shape, video)
	if err != nil {
		return err
	}
	arrays = append(arrays, from...)
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return err
	}
	if err := data.WriteArrays(out, arrays...); err != nil {
		return err
	}
	w.p.close()
	size := w.codec.Tokenizer.CodebookSize()
	return printWritten(c, written{out, l.Len(), axes, size}, "codes %v of %d, int32", axes, size)
}
