package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
	"magvit/trainer/probe"
	"magvit/trainer/report"
)

func probeCommand() *cli.Command {
	return &cli.Command{
		Name:  "probe",
		Usage: "tell whether the codes of labelled clips tell their classes",
		Description: example("magvit probe --checkpoint runs/demo --data clips.npz",
			"magvit probe --checkpoint runs/demo --data clips.npz --views 1 --json"),
		Flags: workFlags("all", append(clipFlags(), jsonFlag(),
			&cli.StringFlag{Name: "target", Value: "label", Usage: "what to tell from codes: label"},
			&cli.IntFlag{Name: "splits", Value: 5, Usage: "repetitions with other clips held out"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of splits and of heads"},
			&cli.IntFlag{Name: "views", DefaultText: "4 with data.flip, else 1",
				Usage: "mirrored copies of each clip to fit on: 1, 4 or 8; take 1 if a mirrored clip would have another label"})...),
		Action: probeClips,
	}
}

func probeClips(c *cli.Context) error {
	if t := c.String("target"); t != "label" {
		return usagef("--target %s: want label", t)
	}
	if n := c.Int("splits"); n < 2 || n > 100 {
		return usagef("--splits %d: want 2 to 100", n)
	}
	w, err := openWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.choose(); err != nil {
		return err
	}
	views, err := w.views(c.Int("views"))
	if err != nil {
		return err
	}
	set, err := w.gather(views)
	if err != nil {
		return err
	}
	r, err := probe.Run(c.Context, set, probe.Options{Splits: c.Int("splits"), Seed: c.Uint64("seed"), Workers: workers(w.be),
		Progress: func(done, total int) { w.p.set(float64(done)/float64(total), "fitting classifiers") }})
	if errors.Is(err, probe.ErrData) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	r.Step, r.Data, r.Split = w.codec.Step, c.StringSlice("data"), c.String("split")
	if err := keep(r, c.String("checkpoint")); err != nil {
		return err
	}
	w.p.close()
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return probe.WriteText(c.App.Writer, r)
}

// views is how many copies of a clip to fit on.
func (w *work) views(n int) (int, error) {
	square := w.data.Size > 0 || w.data.Height == w.data.Width
	switch {
	case n == 0 && w.data.Flip:
		return 4, nil
	case n == 0:
		return 1, nil
	case n != 1 && n != 4 && n != 8:
		return 0, usagef("--views %d: want 1, 4 or 8", n)
	case n == 8 && !square:
		return 0, usagef("--views 8: x and y can be exchanged in square frames only; want 1 or 4")
	}
	return n, nil
}

// gather encodes the chosen clips that have labels, in so many views.
func (w *work) gather(views int) (*probe.Set, error) {
	var labelled []int
	for _, i := range w.indices {
		if w.src.Label(i) >= 0 {
			labelled = append(labelled, i)
		}
	}
	if n := len(w.indices) - len(labelled); n > 0 {
		w.p.log.Warn("clips without a label are left out", "clips", n)
	}
	tok := w.codec.Tokenizer
	set := probe.NewSet(w.src.Classes(), probe.Codebook{Size: tok.CodebookSize(), Levels: tok.CodebookLevels()}, views)
	if w.indices = labelled; len(labelled) == 0 {
		return set, nil // Run says what is missing
	}
	// A batch is a clip's views, so that one program serves all.
	done := 0
	skipped, err := data.Each(w.c.Context, w.src, labelled, w.data, 1, func(b *data.Batch) error {
		s := b.Shape()
		s.N = views
		var video []float32
		for v := range views {
			video = append(video, probe.View(b.Video, b.T, b.H, b.W, b.C, v)...)
		}
		codes, latents, err := w.codec.EncodeWithLatents(video, s)
		if err != nil {
			return err
		}
		shape, err := w.codec.CodeShape(s)
		if err != nil {
			return err
		}
		list := make([]probe.Example, views)
		for v := range list {
			size, per, dims := len(video)/views, len(codes)/views, len(latents)/views
			list[v] = probe.Example{Video: video[v*size:][:size], T: b.T, H: b.H, W: b.W, C: b.C,
				Codes: codes[v*per:][:per], CodeShape: [4]int(shape[1:]), Latents: latents[v*dims:][:dims],
				Name: b.Names[0], Label: b.Labels[0]}
		}
		done++
		w.p.set(float64(done)/float64(len(labelled)), "encoding")
		if err := w.c.Context.Err(); err != nil {
			return err
		}
		return set.Add(list)
	})
	w.leftOut(skipped)
	return set, err
}

// keep writes the result into a run's directory and makes its report again.
// Other checkpoints have no place for it.
func keep(r probe.Result, dir string) error {
	if st, err := os.Stat(filepath.Join(dir, "config.yaml")); err != nil || st.IsDir() {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, probe.FileName)
	if err = os.WriteFile(path+".tmp", append(text, '\n'), 0o666); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(path+".tmp"))
	}
	_, err = report.Write(dir)
	return err
}
