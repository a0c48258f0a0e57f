package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/model"
	"magvit/trainer/codes"
	"magvit/trainer/data"
	"magvit/trainer/ranks"
	"magvit/trainer/task"
)

func encodeCommand() *cli.Command {
	return &cli.Command{
		Name:  "encode",
		Usage: "turn clips into integer codes",
		Description: example("magvit encode --checkpoint runs/demo --data clips.npz --out codes.npz",
			"magvit encode --checkpoint runs/demo --data films/ --windows all --out codes/",
			"magvit encode --checkpoint runs/demo --data films/ --windows all --out codes/ --shard 3/8") + `

A folder gets shards, each a file of the codes of --shard-clips clips, and index.json after the last one. The same command
again goes on where it was interrupted. --shard 0/8 to 7/8 are eight jobs for one folder, on any machines that share it;
together they write what one run writes. trainer/codes/README.md specifies the files.`,
		Flags: workFlags("all", append(append(clipFlags(), offloadFlag(), jsonFlag()),
			&cli.StringFlag{Name: "out", Usage: "the .npz `FILE` to write, which is replaced, or a FOLDER for shards, where those that are there are kept"},
			&cli.StringFlag{Name: "format", DefaultText: "npz for a name that ends so, else npy", Usage: "npz, npy (arrays to map into memory) or tar (samples for webdataset)"},
			&cli.StringFlag{Name: "shard", DefaultText: "all", Usage: "make only the shards whose number is I modulo N, `I/N`; I counts from 0"},
			&cli.IntFlag{Name: "shard-clips", Value: 256, Usage: "clips, or films with --windows all, in a shard"},
			&cli.StringFlag{Name: "factors", Usage: "store each code as several of a smaller vocabulary, with these numbers of `DIGITS`, the lowest first: 6,12 makes 2^6 and 2^12 of 18 bits"})...),
		Action: encode,
	}
}

func encode(c *cli.Context) error {
	if err := need(c, "checkpoint", "data", "out"); err != nil {
		return err
	}
	group, err := openRanks(c)
	if err != nil {
		return err
	}
	out := c.String("out")
	format, err := codesFormat(c)
	if err != nil {
		return err
	}
	job, of, err := shardFlag(c)
	if err != nil {
		return err
	}
	if err := protectFrom(codes.IsFolder, out, "--out", append(c.StringSlice("data"), checkpointInputs(c.String("checkpoint"))...)...); err != nil {
		return err
	}
	w, err := openWork(c, offloading(c, task.OpenEncoder, task.OffloadEncoder))
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.choose(); err != nil {
		return err
	}
	if w.data, err = data.Resolve(c.Context, w.src, w.indices, w.data); err != nil {
		return err
	}
	if tok, s := w.codec.Tokenizer, w.data.Whole(1); tok.Padded(s.T) != s.T {
		w.p.log.Info(fmt.Sprintf("%v; clips repeat their last frame to %d, and decode cuts the copies off", tok.Check(model.Shape{N: 1, T: s.T, H: s.H, W: s.W}), tok.Padded(s.T)))
	}
	h, vectors, err := w.header()
	if err != nil {
		return err
	}
	run := func(b *data.Batch) ([]int32, error) { return w.codec.Encode(b.Video, b.Shape()) }
	if format == "npz" {
		return w.encodeFile(h, vectors, run)
	}
	e := codes.Encoding{Dir: out, Format: format, Header: h, Source: w.src, Indices: w.indices, Config: w.data, PerShard: c.Int("shard-clips"),
		Job: job + of*group.Rank(), Of: of * group.Size(), Vectors: vectors, Batch: workBatch, Log: w.p.log, Encode: run, Rate: w.rate}
	r, err := e.Run(c.Context, func(n, of int) { w.p.set(float64(n)/float64(of), fmt.Sprintf("%d of %d clips", n, of)) })
	if err != nil {
		return err
	}
	if group != nil {
		if err := group.Barrier(c.Context); err != nil || !launched.first() {
			return err
		}
		e.Job, e.Of = job, of // all of these shards are there now
		if r, err = e.Run(c.Context, func(int, int) {}); err != nil {
			return err
		}
	}
	w.p.close()
	if r.LeftOut > 0 {
		w.p.log.Warn(fmt.Sprintf("%d clips could not be read and were left out", r.LeftOut))
	}
	if r.Kept > 0 {
		w.p.log.Info("shards that were there were kept", "shards", r.Kept)
	}
	state := "index.json lists all shards"
	if !r.Whole {
		state = "index.json follows when the other jobs are done"
	}
	shape := append([]int{r.Clips}, h.Stored()...)
	return printWritten(c, written{out, r.Clips, shape, h.Codebook}, "codes %v of %d, int32, in shards of %d clips; %s", shape, h.Codebook, e.PerShard, state)
}

// encodeFile writes one .npz file. Of several ranks each encodes a part of the batches, and the first one writes.
func (w *work) encodeFile(h codes.Header, vectors []float32, run func(*data.Batch) ([]int32, error)) error {
	out, began, n := w.c.String("out"), time.Now(), 0
	var b codes.Block
	skipped, err := task.Answers(w.c.Context, launched.group, w.src, w.indices, w.data, max(1, min(workBatch, len(w.indices))), func(b *data.Batch) ([]byte, error) {
		codes, err := run(b)
		return ranks.IntBytes(codes), err
	}, func(d *data.Batch, answer []byte) error {
		n = min(n+d.N, len(w.indices))
		w.showProgress(n, began)
		return errors.Join(b.Add(d, ranks.Ints(answer), w.rate), w.c.Context.Err())
	})
	if err != nil || !launched.first() {
		return err
	}
	w.logSkipped(skipped)
	if len(b.Names) == 0 {
		return usagef("none of %d clips can be read; nothing was written", len(w.indices))
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return err
	}
	if err := codes.WriteNPZ(out, h, b, vectors); err != nil {
		return err
	}
	w.p.close()
	axes := append([]int{len(b.Names)}, h.Stored()...)
	return printWritten(w.c, written{out, len(b.Names), axes, h.Codebook}, "codes %v of %d, int32", axes, h.Codebook)
}

// header describes the tokenizer, the codes of a clip and the clips; vectors are those of a learned codebook, or nil.
func (w *work) header() (h codes.Header, vectors []float32, err error) {
	tok := w.codec.Tokenizer
	video := w.data.Whole(1)
	shape, err := w.codec.CodeShape(video)
	if err != nil {
		return h, nil, err
	}
	h = codes.Header{Grid: [3]int(shape[1:4]), Codebooks: shape[4], Codebook: tok.CodebookSize(), Levels: tok.CodebookLevels(), DigitOrder: codes.DigitOrder, BitOrder: bitOrder(tok),
		Quantizer: tok.Config.Quantizer.Kind, Tokenizer: w.codec.SHA256, Step: w.codec.Step, Size: [2]int{video.H, video.W},
		Split: w.c.String("split"), Classes: w.src.Classes()}
	for _, p := range w.c.StringSlice("data") {
		if full, err := filepath.Abs(p); err == nil {
			p = full
		}
		h.Source = append(h.Source, p)
	}
	if text := w.c.String("factors"); text != "" {
		var digits []int
		for _, f := range strings.Split(text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil {
				return h, nil, usagef("--factors %s: want numbers of digits with commas, as 6,12", text)
			}
			digits = append(digits, n)
		}
		if h.Factors, err = codes.SplitDigits(h.Levels, digits); err != nil {
			return h, nil, usagef("--factors %s: %w", text, err)
		}
	}
	vectors, _, err = w.codec.CodeVectors()
	return h, vectors, err
}

// codesFormat is --format, or what the name of --out says, checked against that name.
func codesFormat(c *cli.Context) (format string, err error) {
	out, folder := c.String("out"), filepath.Ext(c.String("out")) == ""
	if format = c.String("format"); format == "" {
		format = "npz"
		if folder {
			format = "npy"
		}
	}
	switch {
	case format == "npz":
		for _, flag := range []string{"shard", "shard-clips"} {
			if c.IsSet(flag) {
				return "", usagef("--%s: a .npz is one file; name a folder for shards, as --out codes/", flag)
			}
		}
		return format, checkOut("--out", out, ".npz")
	case !slices.Contains(codes.Formats, format):
		return "", usagef("--format %s: want npz, %s", format, strings.Join(codes.Formats, " or "))
	case !folder:
		return "", usagef("--out %s: --format %s writes a folder; want a name without extension", out, format)
	case c.Int("shard-clips") < 1:
		return "", usagef("--shard-clips %d: want 1 or more", c.Int("shard-clips"))
	}
	if err := checkFolder("--out", out); err != nil {
		return "", err
	}
	return format, codes.CheckFolder(out)
}

// shardFlag reads --shard I/N.
func shardFlag(c *cli.Context) (job, of int, err error) {
	text := c.String("shard")
	if text == "" {
		return 0, 1, nil
	}
	i, n, found := strings.Cut(text, "/")
	job, errI := strconv.Atoi(i)
	of, errN := strconv.Atoi(n)
	if !found || errI != nil || errN != nil || of < 1 || job < 0 || job >= of {
		return 0, 0, usagef("--shard %s: want I/N with I from 0 to N-1, as 0/8 to 7/8", text)
	}
	return job, of, nil
}
