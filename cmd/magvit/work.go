package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/trainer"
	"magvit/trainer/data"
	"magvit/trainer/task"
)

// work is what the commands on a checkpoint and clips have in common.
type work struct {
	c         *cli.Context
	p         *progress
	be        kernels.Backend
	codec     *task.Codec
	openCodec codecOpener
	src       data.Source
	closeData func()
	indices   []int           // chosen clips
	data      data.Config     // how they are read
	told      map[string]bool // problems of the clips that were logged
}

const workBatch = 4 // clips that are encoded together

// workFlags belong to every command with a checkpoint and clips.
func workFlags(split string, more ...cli.Flag) []cli.Flag {
	return append(append([]cli.Flag{
		checkpointFlag(),
		dataFlag(),
		&cli.StringFlag{Name: "split", Value: split, Usage: "which clips: val (held out), train, test (where folders or a list name them) or all, as it is for imported weights"},
		indexFlag(),
		&cli.BoolFlag{Name: "strict", Usage: "stop at a clip that cannot be read, instead of leaving it out"},
	}, more...), deviceFlags()...)
}

func checkpointFlag() cli.Flag {
	return &cli.StringFlag{Name: "checkpoint", Usage: "a `RUN` directory (its newest checkpoint), a checkpoint's directory, or RUN/checkpoints/best"}
}

// clipFlags belong to commands that encode clips.
func clipFlags() []cli.Flag {
	return []cli.Flag{
		framesFlag(),
		&cli.StringFlag{Name: "windows", DefaultText: "first", Usage: "windows of films longer than a clip: first, all (without gaps), or a number"},
		&cli.IntFlag{Name: "limit", DefaultText: "all", Usage: "upper bound of the number of clips"},
		piecesFlag(),
	}
}

func framesFlag() cli.Flag {
	return &cli.IntFlag{Name: "frames", DefaultText: "as in training, 0 for imported weights", Usage: "frames of a clip: longer ones are cut, shorter ones repeat their last; 0: as many as the first clip has"}
}

// codecOpener is one of task.OpenCodec, OpenEncoder, OpenDecoder, OffloadEncoder and OffloadDecoder.
type codecOpener func(be kernels.Backend, path string) (*task.Codec, error)

// openCheckpoint starts the device and reads the checkpoint.
func openCheckpoint(c *cli.Context, log *slog.Logger, open codecOpener) (kernels.Backend, *task.Codec, error) {
	be, err := openDevice(c, log)
	if err != nil {
		return nil, nil, err
	}
	codec, err := open(be, c.String("checkpoint"))
	if err != nil {
		be.Close()
		return nil, nil, err
	}
	if err := codec.SetPieces(c.Int("pieces")); err != nil {
		be.Close()
		return nil, nil, err
	}
	if launched.group == nil { // ranks end together, between batches
		codec.Stopped = c.Context.Err
	}
	logCheckpoint(c, log, codec.Trained)
	return be, codec, nil
}

// piecesFlag belongs to commands that encode or decode clips.
func piecesFlag() cli.Flag {
	return &cli.IntFlag{Name: "pieces", DefaultText: "the whole clip", Usage: "vidtok: go through clips in pieces of `FRAMES`, in the memory that a piece needs, with the same results; a multiple of the frames of a code"}
}

// offloadFlag belongs to commands that run one half of a tokenizer.
func offloadFlag() cli.Flag {
	return &cli.BoolFlag{Name: "offload", Usage: "leave the weights in their file and read those of a layer when it runs: the memory of the largest layer for that of all, and all of the file for each batch"}
}

// offloading is the opener for the flags: of weights in memory or in their file.
func offloading(c *cli.Context, inMemory, inFile codecOpener) codecOpener {
	if c.Bool("offload") {
		return inFile
	}
	return inMemory
}

// logCheckpoint logs which checkpoint was read.
func logCheckpoint(c *cli.Context, log *slog.Logger, of task.Trained) {
	for _, s := range of.Skipped {
		log.Warn("checkpoint skipped: " + s.Error())
	}
	log.Info("checkpoint", "path", c.String("checkpoint"), "step", of.Step, "parameters", of.Parameters)
}

// openWork opens what the flags name. The caller closes it.
func openWork(c *cli.Context, open codecOpener) (*work, error) {
	w, err := newWork(c)
	if err != nil {
		return nil, err
	}
	w.openCodec = open
	if err := w.open(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// newWork checks the flags and opens nothing yet.
func newWork(c *cli.Context) (*work, error) {
	if err := need(c, "checkpoint", "data"); err != nil {
		return nil, err
	}
	if s := c.String("split"); s != "val" && s != "train" && s != "test" && s != "all" {
		return nil, usagef("--split %s: want val, train, test or all", s)
	}
	for _, flag := range []string{"frames", "limit"} {
		if c.Int(flag) < 0 {
			return nil, usagef("--%s %d: want 0 or more", flag, c.Int(flag))
		}
	}
	return &work{c: c, p: newProgress(c, c.Command.Name, 10*time.Second)}, nil
}

func (w *work) open() (err error) {
	if w.be, w.codec, err = openCheckpoint(w.c, w.p.log, w.openCodec); err != nil {
		return err
	}
	return w.openClips(w.codec.Trained)
}

// openClips opens the clips, to be read with a checkpoint's data configuration. A
// checkpoint of step 0 is imported and was trained on clips of another program: clips are
// as long as the first one.
func (w *work) openClips(of task.Trained) (err error) {
	if of.Config.Model.IsPrior() && len(of.Config.Model.Prior.Clip) == 0 {
		w.closeData, err = openCodes(w.c, &w.src)
	} else {
		w.src, w.closeData, err = openData(w.c, w.p.log, w.c.StringSlice("data"), "", data.Options{Images: of.Config.Data.Images})
	}
	if err != nil {
		return err
	}
	w.logProblems()
	w.data = of.Config.Data
	if of.Step == 0 {
		w.data.Frames = 0
		if w.c.String("split") != "all" && !w.c.IsSet("split") {
			w.p.log.Info("imported weights: all clips are held out; --split val, train or test takes some")
			err = w.c.Set("split", "all")
		}
	}
	if w.c.IsSet("frames") {
		w.data.Frames = w.c.Int("frames")
	}
	w.data.Strict = w.c.Bool("strict")
	return err
}

func (w *work) close() {
	w.p.close()
	if w.be != nil {
		w.be.Close()
	}
	if w.src != nil {
		w.closeData()
	}
}

// same refuses ranks that would not do parts of the same work: with other weights, of other clips, or otherwise.
func (w *work) same(of task.Trained, d data.Config, indices []int) error {
	if launched.group == nil {
		return nil
	}
	if err := launched.same(w.c.Context, "checkpoint", fmt.Sprintf("step %d, weights %.12s", of.Step, of.SHA256)); err != nil {
		return err
	}
	cfg := of.Config
	cfg.Data, cfg.Train.Precision = d, w.c.String("precision")
	return trainer.SameWork(w.c.Context, launched.group, w.be, cfg, chosen(w.src, indices))
}

// chosen describes clips of a set by their number and the hash of their names.
func chosen(src data.Source, indices []int) string {
	h := sha256.New()
	for _, i := range indices {
		fmt.Fprintln(h, src.Name(i))
	}
	return fmt.Sprintf("%d clips, names %x", len(indices), h.Sum(nil)[:8])
}

// choose selects the clips by --split, --windows and --limit. All ranks have to choose the same.
func (w *work) choose() error {
	if err := w.chooseClips(); err != nil {
		return err
	}
	return w.same(w.codec.Trained, w.data, w.indices)
}

func (w *work) chooseClips() error {
	trained := w.codec.Config.Data.Frames
	w.data.Windows = w.c.String("windows")
	if err := w.data.Validate(); err != nil {
		return err
	}
	if split := w.c.String("split"); split == "all" {
		for i := range w.src.Len() {
			w.indices = append(w.indices, i)
		}
	} else if split == "test" {
		var err error
		if w.indices, err = data.TestClips(w.src); err != nil {
			return err
		}
	} else {
		train, val, err := data.Split(w.src, w.data.ValShare)
		if err != nil {
			return err
		}
		w.indices = map[string][]int{"train": train, "val": val}[split]
	}
	if n := w.c.Int("limit"); n > 0 {
		w.indices = w.indices[:min(n, len(w.indices))]
	}
	if w.data.Frames > 0 {
		return nil
	}
	films, err := data.HasFilms(w.c.Context, w.src, w.indices)
	if films || w.c.IsSet("windows") { // a clip of a film is as long as those the model was trained on
		w.data.Frames = trained
	}
	return err
}

// rate is the frame rate of the frames that are read of clip i, 0 if it is unknown.
func (w *work) rate(i int) (float64, error) {
	if w.data.FPS > 0 {
		return w.data.FPS / float64(max(w.data.Stride, 1)), nil
	}
	fps, err := data.Rate(w.c.Context, w.src, i)
	if bad := (*data.ClipError)(nil); errors.As(err, &bad) {
		return 0, nil // it is left out when it is read
	}
	return fps / float64(max(w.data.Stride, 1)), err
}

// commonRate is the rate of the chosen clips, 0 if it is unknown or they differ.
func (w *work) commonRate() (fps float64, err error) {
	for k, i := range w.indices {
		r, err := w.rate(i)
		if err != nil || k > 0 && r != fps {
			return 0, err
		}
		fps = r
	}
	return fps, nil
}

// each encodes the chosen clips and gives f a batch at a time with its codes,
// per of them a clip. Clips that cannot be read are left out and logged.
func (w *work) each(f func(b *data.Batch, codes []int32, per int) error) error {
	began, done := time.Now(), 0
	skipped, err := data.Each(w.c.Context, w.src, w.indices, w.data, workBatch, func(b *data.Batch) error {
		codes, err := w.codec.Encode(b.Video, b.Shape())
		if err != nil {
			return err
		}
		if err := f(b, codes, len(codes)/b.N); err != nil {
			return err
		}
		done = min(done+b.N, len(w.indices))
		w.showProgress(done, began)
		return w.c.Context.Err()
	})
	if err != nil {
		return err
	}
	w.logSkipped(skipped)
	return nil
}

func (w *work) showProgress(done int, began time.Time) {
	w.p.set(float64(done)/float64(len(w.indices)),
		fmt.Sprintf("%d of %d clips  %.1f clips/s", done, len(w.indices), float64(done)/time.Since(began).Seconds()))
}

// logProblems logs the problems of the clips that have not been logged.
func (w *work) logProblems() {
	if w.told == nil {
		w.told = map[string]bool{}
	}
	for _, s := range data.NewProblems(w.src, w.told) {
		if launched.first() { // which has the same clips as the others
			w.p.log.Warn("data: " + s)
		}
	}
}

// logSkipped logs the clips that could not be read, and what reading found.
func (w *work) logSkipped(skipped []*data.ClipError) {
	w.logProblems()
	for _, s := range skipped {
		w.p.log.Warn("clip left out: " + s.Error())
	}
	if len(skipped) > 0 {
		w.p.log.Warn(fmt.Sprintf("%d of %d clips could not be read and were left out", len(skipped), len(w.indices)))
	}
}

// printLine prints the result of a command that writes a file.
func printLine(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}
