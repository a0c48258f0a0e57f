package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"magvit/model"
	"magvit/trainer/atomicfile"
	"magvit/trainer/codes"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/probe"
	"magvit/trainer/report"
	"magvit/trainer/task"
)

func sampleCommand() *cli.Command {
	d := task.SamplingDefaults()
	return &cli.Command{
		Name:  "sample",
		Usage: "draw new clips of a class from a prior over codes, or go on from the first frames of clips",
		Description: example("magvit sample --checkpoint runs/prior --tokenizer runs/demo --class 2 --count 8 --out samples.gif",
			"magvit sample --checkpoint runs/prior --tokenizer runs/demo --from clips.npz --frames-given 4 --out predicted.npz",
			"magvit sample --checkpoint runs/prior --tokenizer runs/demo --count 120 --judge clips.npz --out samples.npz --strips samples.png --json"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "checkpoint", Usage: "the prior's `RUN` or checkpoint"},
			&cli.StringFlag{Name: "tokenizer", Usage: "the `RUN` or checkpoint of the tokenizer whose codes the prior was trained on"},
			&cli.StringFlag{Name: "class", DefaultText: "each class in turn", Usage: "number or name of the class, or none"},
			&cli.IntFlag{Name: "count", DefaultText: "one for each class, or for each clip of --from", Usage: "number of clips"},
			&cli.StringSliceFlag{Name: "from", Usage: "clips whose first frames are given: a file, folder or pattern; may be given again"},
			&cli.IntFlag{Name: "frames-given", DefaultText: "half", Usage: "with --from: frames of codes that are given"},
			&cli.StringFlag{Name: "out", Usage: "`PATH` to write: .npz, .mp4, .gif or a folder of PNG; an existing file is replaced"},
			&cli.StringFlag{Name: "codes", Usage: "also write the codes, to the .npz `FILE`"},
			&cli.StringFlag{Name: "strips", Usage: "also draw the first 32 clips, a row of frames each, to the .png `FILE`"},
			&cli.Uint64Flag{Name: "seed", Usage: "of the draws: the same seed gives the same clips"},
			&cli.IntFlag{Name: "steps", Value: d.Steps, Usage: "masked priors: passes in which the codes of a clip are drawn"},
			&cli.Float64Flag{Name: "temperature", Value: d.Temperature, Usage: "divides the logits; 0: the most likely codes"},
			&cli.IntFlag{Name: "top-k", Usage: "draw among this number of the most likely values; 0: all"},
			&cli.Float64Flag{Name: "top-p", Value: d.TopP, Usage: "draw among the most likely values of this probability together"},
			&cli.Float64Flag{Name: "guidance", Usage: "weight of the difference that the class makes to the logits, added to them; 0: none"},
			&cli.StringFlag{Name: "classifier", Usage: "`RUN` of a classifier: of the --candidates of each clip, the one is written that it gives the class the most probability"},
			&cli.IntFlag{Name: "candidates", Value: 8, Usage: "clips that are drawn for each one written, where it is set or with --classifier: of these the one is written that the classifier, or else the prior itself, gives the class the most probability; with --from alone the one whose path is nearest to those of the others"},
			&cli.StringSliceFlag{Name: "judge", Usage: "labelled real clips, those that the prior was trained on and held-out ones: does the class that is found in the samples agree, are they like real clips, are they new? With --from: how far predicted frames are from the true ones; may be given again"},
			&cli.BoolFlag{Name: "other-tokenizer", Usage: "decode with another tokenizer than that of the prior's codes"},
		}, append(mediaFlags(), deviceFlags()...)...),
		Action: sample,
	}
}

// sampler is an open prior with its tokenizer.
type sampler struct {
	c     *cli.Context
	prior *task.Prior
	codec *task.Codec
	p     *progress
	grid  []int // of the prior

	classifier *task.Predictor // chooses among candidates; nil: the prior does, or the paths
	candidates int
}

func sample(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if err := need(c, "checkpoint", "tokenizer", "out"); err != nil {
		return err
	}
	if err := checkMedia(c); err != nil {
		return err
	}
	inputs := append(c.StringSlice("from"), c.StringSlice("judge")...)
	for _, flag := range []string{"checkpoint", "tokenizer", "classifier"} {
		inputs = append(inputs, checkpointInputs(c.String(flag))...)
	}
	if err := protect(c.String("out"), "--out", inputs...); err != nil {
		return err
	}
	if out := c.String("codes"); out != "" {
		if err := checkOut("--codes", out, ".npz"); err != nil {
			return err
		}
		if err := protect(out, "--codes", append(inputs, c.String("out"))...); err != nil {
			return err
		}
	}
	if out := c.String("strips"); out != "" {
		if err := checkOut("--strips", out, ".png"); err != nil {
			return err
		}
		if err := protect(out, "--strips", append(inputs, c.String("out"), c.String("codes"))...); err != nil {
			return err
		}
	}
	how := task.Sampling{Seed: c.Uint64("seed"), Steps: c.Int("steps"), Temperature: c.Float64("temperature"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), Guidance: c.Float64("guidance")}
	if err := how.Validate(); err != nil {
		return err
	}
	s := &sampler{c: c, p: newProgress(c, "sample", 0)}
	defer s.p.close()
	be, err := openDevice(c, s.p.log)
	if err != nil {
		return err
	}
	defer be.Close()
	if s.prior, err = task.OpenPrior(be, c.String("checkpoint")); err != nil {
		return err
	}
	if s.codec, err = task.OpenCodec(be, c.String("tokenizer")); err != nil {
		return err
	}
	s.codec.Stopped = c.Context.Err
	s.grid = s.prior.Network.Config.Prior.Grid
	if err := s.openClassifier(be); err != nil {
		return err
	}
	if err := s.fits(); err != nil {
		return err
	}
	b, err := s.given()
	if err != nil {
		return err
	}
	classes, err := s.classes(b)
	if err != nil {
		return err
	}
	if err := s.draw(&b, classes, how); err != nil {
		return err
	}
	if err := s.write(b); err != nil {
		return err
	}
	if out := c.String("strips"); out != "" {
		if err := s.strips(out, b); err != nil {
			return err
		}
	}
	if len(c.StringSlice("judge")) > 0 {
		return s.judge(b, classes)
	}
	return printWritten(c, written{Path: c.String("out"), Clips: len(b.Names)}, "%s", metrics.Plural(len(b.Names), "clip"))
}

// maxSamples bounds the clips of a call, which are in memory, and the candidates of a clip.
const maxSamples = 1 << 20

// fits checks that the tokenizer is that of the prior's codes.
func (s *sampler) fits() error {
	p := s.prior.Network.Config.Prior
	switch size := s.codec.Tokenizer.CodebookSize(); {
	case size != p.CodebookSize():
		return usagef("--tokenizer: a codebook of %d; the prior's codes are of %d", size, p.CodebookSize())
	case s.books() > p.Grid[2] || p.Grid[2]%s.books() != 0:
		return usagef("--tokenizer: %d codebooks; the prior's grid is %v", s.books(), p.Grid)
	case p.Tokenizer != "" && p.Tokenizer != s.codec.SHA256 && !s.c.Bool("other-tokenizer"):
		return usagef("--tokenizer: weights %.12s; the prior's codes are of the tokenizer %.12s, and mean something else to this one; --other-tokenizer decodes them all the same", s.codec.SHA256, p.Tokenizer)
	}
	return nil
}

func (s *sampler) books() int { return s.codec.Tokenizer.Config.Quantizer.Codebooks }

// shape is that of the codes of n clips.
func (s *sampler) shape(n int) [5]int {
	return [5]int{n, s.grid[0], s.grid[1], s.grid[2] / s.books(), s.books()}
}

// given returns the clips to draw: their names, labels, and codes, NoCode where these are to be drawn.
func (s *sampler) given() (b codes.Block, err error) {
	c, tokens := s.c, s.grid[0]*s.grid[1]*s.grid[2]
	if len(c.StringSlice("from")) == 0 {
		if c.IsSet("frames-given") {
			return b, usagef("--frames-given without --from: no clip gives frames")
		}
		n := c.Int("count")
		if !c.IsSet("count") {
			n = max(s.prior.Network.Config.Prior.Classes, 1)
		}
		if n < 1 || n > maxSamples {
			return b, usagef("--count %d: want 1 to %d", n, maxSamples)
		}
		b.Codes = slices.Repeat([]int32{model.NoCode}, n*tokens)
		b.Labels = slices.Repeat([]int64{-1}, n)
		for i := range n {
			b.Names = append(b.Names, fmt.Sprintf("%06d", i))
		}
		return b, nil
	}
	frames := s.framesGiven()
	if frames < 1 || frames >= s.grid[0] {
		return b, usagef("--frames-given %d: want 1 to %d, of the %d frames of codes of a clip", frames, s.grid[0]-1, s.grid[0])
	}
	opened, err := data.Open(c.Context, c.StringSlice("from"), data.Options{})
	if err != nil {
		return b, err
	}
	defer opened.Close()
	src, err := s.prior.Renumbered(opened)
	if err != nil {
		return b, fmt.Errorf("--from: %w", err)
	}
	n := src.Len()
	if c.IsSet("count") {
		if n = c.Int("count"); n < 1 || n > src.Len() {
			return b, usagef("--count %d: want 1 to %d, the clips of --from", n, src.Len())
		}
	}
	indices := make([]int, n)
	for i := range indices {
		indices[i] = i
	}
	b, skipped, err := codes.Gather(c.Context, src, indices, s.codec.Config.Data, workBatch, func(batch *data.Batch) ([]int32, error) {
		shape, err := s.codec.CodeShape(batch.Shape())
		if err != nil {
			return nil, err
		}
		if shape != s.shape(batch.N) {
			return nil, usagef("--from: clips of %v codes; the prior is of %v (frames, rows, columns)", shape[1:4], s.grid)
		}
		return s.codec.Encode(batch.Video, batch.Shape())
	}, func(int) (float64, error) { return 0, nil })
	if err != nil {
		return b, err
	}
	for _, e := range skipped {
		s.p.log.Warn("clip left out: " + e.Error())
	}
	if len(b.Names) == 0 {
		return b, usagef("none of %d clips can be read", n)
	}
	for i := range b.Codes {
		if i%tokens >= frames*s.grid[1]*s.grid[2] {
			b.Codes[i] = model.NoCode
		}
	}
	return b, nil
}

// framesGiven is the frames of codes that --from gives.
func (s *sampler) framesGiven() int {
	if s.c.IsSet("frames-given") {
		return s.c.Int("frames-given")
	}
	return s.grid[0] / 2
}

// classes of the clips: that of --class, or else their labels, or else each in turn.
func (s *sampler) classes(b codes.Block) ([]int, error) {
	of, total := make([]int, len(b.Names)), s.prior.Network.Config.Prior.Classes
	for i := range of {
		switch text := s.c.String("class"); {
		case text == "none":
			of[i] = total
		case text != "":
			var err error
			if of[i], err = s.class(text, total); err != nil {
				return nil, err
			}
		case len(s.c.StringSlice("from")) == 0 && total > 0:
			of[i] = i % total
		case b.Labels != nil && b.Labels[i] >= 0 && b.Labels[i] < int64(total):
			of[i] = int(b.Labels[i])
		default:
			of[i] = total
		}
	}
	return of, nil
}

// class is the number of --class, one of total, which may be a name.
func (s *sampler) class(text string, total int) (int, error) {
	if total == 0 {
		return 0, usagef("--class %s: the prior was trained without classes; leave it out", text)
	}
	if n := slices.Index(s.prior.Classes, text); n >= 0 {
		return n, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < total {
		return n, nil
	}
	return 0, usagef("--class %s: want none, 0 to %d%s", text, total-1, strings.Join(append([]string{""}, s.prior.Classes...), ", "))
}

// draw fills the codes that are not given, and the labels.
func (s *sampler) draw(b *codes.Block, classes []int, how task.Sampling) error {
	tokens, n := len(b.Codes)/len(classes), len(classes)
	b.Labels = make([]int64, n)
	for from := 0; from < n; from += workBatch {
		to := min(from+workBatch, n)
		drawn, err := s.best(b.Codes[from*tokens:to*tokens], classes[from:to], from, n, how)
		if err != nil {
			return err
		}
		copy(b.Codes[from*tokens:], drawn)
		s.p.set(float64(to)/float64(n), fmt.Sprintf("%d of %d clips", to, n))
	}
	for i, c := range classes {
		b.Labels[i] = int64(c)
		if c == s.prior.Network.Config.Prior.Classes {
			b.Labels[i] = -1
		}
	}
	return nil
}

// write decodes the clips, and writes their codes where these are wanted.
func (s *sampler) write(b codes.Block) error {
	tok, n, v := s.codec.Tokenizer, len(b.Names), s.codec.VideoShape(s.shape(1))
	h := codes.Header{Grid: [3]int{s.grid[0], s.grid[1], s.grid[2] / s.books()}, Codebooks: s.books(), Codebook: tok.CodebookSize(), Levels: tok.CodebookLevels(), DigitOrder: codes.DigitOrder, BitOrder: bitOrder(tok),
		Quantizer: tok.Config.Quantizer.Kind, Tokenizer: s.codec.SHA256, Step: s.codec.Step, Size: [2]int{v.H, v.W}, Split: "all", Source: []string{s.c.String("checkpoint")}, Classes: s.prior.Classes}
	b.Frames, b.FPS, b.FrameRange = slices.Repeat([]int32{int32(v.T)}, n), make([]float32, n), slices.Repeat([][2]int32{{0, int32(v.T)}}, n)
	if out := s.c.String("codes"); out != "" {
		if err := codes.WriteNPZ(out, h, b, nil); err != nil {
			return err
		}
	}
	w, err := openWriter(s.c, nil, 0)
	if err != nil {
		return err
	}
	err = decodeBlock(s.c, &codes.Set{Header: h, Path: "the samples", Clips: n}, b, s.codec, w, s.p)
	if err := closeWriter(s.c.Context, w, n, err); err != nil {
		return err
	}
	s.p.close()
	return nil
}

// maxStrips is the number of clips of a picture.
const maxStrips = 32

// strips draws the first clips to a PNG, a row of frames each.
func (s *sampler) strips(path string, b codes.Block) error {
	n := min(len(b.Names), maxStrips)
	few := codes.Block{Codes: b.Codes[:n*(len(b.Codes)/len(b.Names))], Clips: codes.Clips{Names: b.Names[:n]}}
	var clips []report.Pair
	err := s.eachSample(few, func(i int, e probe.Example) error {
		class := "no class"
		if b.Labels[i] >= 0 {
			class = fmt.Sprintf("class %d", b.Labels[i])
		}
		clips = append(clips, report.Pair{Name: e.Name, Class: class, T: e.T, H: e.H, W: e.W, C: e.C, Target: e.Video})
		return nil
	})
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return report.Strips(w, clips) })
}
