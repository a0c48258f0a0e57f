package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"magvit/trainer/atomicfile"
	"magvit/trainer/data"
	"magvit/trainer/probe"
	"magvit/trainer/ranks"
	"magvit/trainer/report"
	"magvit/trainer/task"
	"magvit/trainer/usage"
)

func probeCommand() *cli.Command {
	return &cli.Command{
		Name:  "probe",
		Usage: "measure whether classes can be recognized, or motion forecast, from codes",
		Description: example("magvit probe --checkpoint runs/demo --data clips.npz",
			"magvit probe --checkpoint runs/demo --data clips.npz --target trajectory",
			"magvit probe --checkpoint runs/demo --data clips.npz --views 1 --json"),
		Flags: workFlags("all", append(clipFlags(), jsonFlag(),
			&cli.StringFlag{Name: "target", Value: "label", Usage: "what to predict from codes: label, or trajectory (future positions of the moving object)"},
			&cli.IntFlag{Name: "ahead", DefaultText: "a quarter of the clip", Usage: "with --target trajectory: frames to forecast from those before"},
			&cli.StringSliceFlag{Name: "compare", Usage: "a `RUN` of a network that classifies pixels, for the same table; may be given again"},
			&cli.IntFlag{Name: "splits", Value: 5, Usage: "repetitions with other clips held out"},
			&cli.IntFlag{Name: "steps", DefaultText: "600 to 1500, by head", Usage: "upper bound of the steps of a fit"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of splits and of heads"},
			&cli.IntFlag{Name: "views", DefaultText: "4 with data.flip, else 1",
				Usage: "mirrored copies of each clip to fit on: 1, 4 or 8; use 1 if a mirrored clip would have another label"})...),
		Action: probeClips,
	}
}

func probeClips(c *cli.Context) error {
	target := c.String("target")
	if target != "label" && target != "trajectory" {
		return usagef("--target %s: want label or trajectory", target)
	}
	if n := c.Int("splits"); n < 2 || n > 100 {
		return usagef("--splits %d: want 2 to 100", n)
	}
	for _, flag := range []string{"steps", "ahead"} {
		if c.Int(flag) < 0 {
			return usagef("--%s %d: want 0 or more", flag, c.Int(flag))
		}
	}
	var compared []probe.Compared
	for _, run := range c.StringSlice("compare") {
		other, err := probe.ReadCompared(run)
		if err != nil {
			return usage.Wrap(err)
		}
		compared = append(compared, other)
	}
	if _, err := openRanks(c); err != nil {
		return err
	}
	w, err := openWork(c, task.OpenCodec)
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
	o := probe.Options{Splits: c.Int("splits"), Seed: c.Uint64("seed"), Steps: c.Int("steps"), Workers: workers(w.be),
		Progress: func(done, total int) { w.p.set(float64(done)/float64(total), "fitting") }}
	if target == "trajectory" {
		return w.forecast(views, o, compared)
	}
	set, err := w.collect(views)
	if err != nil {
		return err
	}
	if !launched.first() {
		return launched.waitForFirst(c.Context)
	}
	r, err := probe.Run(c.Context, set, o)
	if err != nil {
		return err
	}
	r.Step, r.Data, r.Split, r.Compared = w.codec.Step, c.StringSlice("data"), c.String("split"), compared
	if err := saveResult(r, c.String("checkpoint"), probe.FileName); err != nil {
		return err
	}
	w.p.close()
	if err := launched.waitForFirst(c.Context); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return probe.WriteText(c.App.Writer, r)
}

// views is the number of copies of a clip to fit on.
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

// collect encodes the chosen clips that have labels, each in the given number of views.
func (w *work) collect(views int) (*probe.Set, error) {
	var labelled []int
	for _, i := range w.indices {
		if w.src.Label(i) >= 0 {
			labelled = append(labelled, i)
		}
	}
	if n := len(w.indices) - len(labelled); n > 0 {
		w.p.log.Warn("clips without a label are left out", "clips", n)
	}
	book, err := w.codebook()
	if err != nil {
		return nil, err
	}
	set := probe.NewSet(w.src.Classes(), book, views)
	if w.indices = labelled; len(labelled) == 0 {
		return set, nil // Run returns an error about it
	}
	return set, w.eachClip(func(b *data.Batch) ([]byte, error) {
		e, err := w.encodeViews(b, b.T, views)
		return e.bytes(), err
	}, func(b *data.Batch, answer []byte) error {
		list, err := w.examples(b, b.T, views, answer)
		if err != nil {
			return err
		}
		return set.Add(list)
	})
}

func (w *work) codebook() (probe.Codebook, error) {
	tok := w.codec.Tokenizer
	vectors, dim, err := w.codec.CodeVectors()
	return probe.Codebook{Size: tok.CodebookSize(), Levels: tok.CodebookLevels(), Vectors: vectors, Dim: dim}, err
}

// eachClip calls use for each of the chosen clips, with what encode makes of it, perhaps on another rank.
func (w *work) eachClip(encode func(b *data.Batch) ([]byte, error), use func(b *data.Batch, answer []byte) error) error {
	done := 0
	skipped, err := task.Answers(w.c.Context, launched.group, w.src, w.indices, w.data, 1, encode, func(b *data.Batch, answer []byte) error {
		done++
		w.p.set(float64(done)/float64(len(w.indices)), "encoding")
		if err := w.c.Context.Err(); err != nil {
			return err
		}
		return use(b, answer)
	})
	w.logSkipped(skipped)
	return err
}

// encoded are the codes and latents of the first frames of a clip, in a number of views.
type encoded struct {
	codes   []int32
	latents []float32
}

func (e encoded) bytes() []byte {
	return slices.Concat(ranks.IntBytes(e.codes), ranks.Bytes(e.latents))
}

// encodeViews encodes the first frames of a clip in the given number of views, as one batch.
func (w *work) encodeViews(b *data.Batch, frames, views int) (e encoded, err error) {
	e.codes, e.latents, err = w.codec.EncodeWithLatents(viewsOf(b, frames, views), viewShape(b, frames, views))
	return e, err
}

func viewShape(b *data.Batch, frames, views int) data.Shape {
	s := b.Shape()
	s.N, s.T = views, frames
	return s
}

func viewsOf(b *data.Batch, frames, views int) []float32 {
	size := frames * b.H * b.W * b.C
	video := make([]float32, 0, views*size)
	for v := range views {
		video = append(video, probe.View(b.Video[:size], frames, b.H, b.W, b.C, v)...)
	}
	return video
}

// examples are what encodeViews has made of a clip, given its bytes.
func (w *work) examples(b *data.Batch, frames, views int, answer []byte) ([]probe.Example, error) {
	shape, err := w.codec.CodeShape(viewShape(b, frames, views))
	if err != nil {
		return nil, err
	}
	video, size := viewsOf(b, frames, views), frames*b.H*b.W*b.C
	per := shape[1] * shape[2] * shape[3] * shape[4]
	codes, latents := ranks.Ints(answer[:4*per*views]), ranks.Floats(answer[4*per*views:])
	dims := len(latents) / views
	list := make([]probe.Example, views)
	for v := range list {
		list[v] = probe.Example{Video: video[v*size:][:size], T: frames, H: b.H, W: b.W, C: b.C,
			Codes: codes[v*per:][:per], CodeShape: [4]int(shape[1:]), Latents: latents[v*dims:][:dims],
			Name: b.Names[0], Label: b.Labels[0]}
	}
	return list, nil
}

// saveResult writes the result into a run's directory and rewrites its report. A checkpoint
// outside of a run has no such directory.
func saveResult(r any, dir, file string) error {
	if st, err := os.Stat(filepath.Join(dir, "config.yaml")); err != nil || st.IsDir() {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(filepath.Join(dir, file), append(text, '\n')); err != nil {
		return err
	}
	_, err = report.Write(dir)
	return err
}
