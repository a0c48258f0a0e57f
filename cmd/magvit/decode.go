package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/codes"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/task"
)

func decodeCommand() *cli.Command {
	return &cli.Command{
		Name:  "decode",
		Usage: "turn integer codes into clips",
		Description: example("magvit decode --checkpoint runs/demo --codes codes.npz --out clips.npz",
			"magvit decode --checkpoint runs/demo --codes codes.npz --out clips.gif",
			"magvit decode --checkpoint runs/demo --codes samples.npy --out films/"),
		Flags: append([]cli.Flag{
			checkpointFlag(),
			&cli.StringFlag{Name: "codes", Usage: "the .npz `FILE` or folder that encode wrote, one of its shards, or a .npz, .npy or .tar of int32 codes [N,T',H',W']"},
			&cli.StringFlag{Name: "out", Usage: "`PATH` to write: .npz, .mp4, .gif or a folder of PNG; an existing file is replaced"},
			piecesFlag(),
			offloadFlag(),
			&cli.BoolFlag{Name: "other-tokenizer", Usage: "decode codes that another tokenizer made"},
		}, append(mediaFlags(), deviceFlags()...)...),
		Action: decode,
	}
}

func decode(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	if err := need(c, "checkpoint", "codes", "out"); err != nil {
		return err
	}
	if err := checkMedia(c); err != nil {
		return err
	}
	if err := protect(c.String("out"), "--out", append(checkpointInputs(c.String("checkpoint")), c.String("codes"))...); err != nil {
		return err
	}
	set, err := codes.Open(c.String("codes"))
	if err != nil {
		return err
	}
	for _, path := range set.Source {
		if _, err := os.Stat(path); err != nil {
			continue // of another machine, or gone
		}
		if err := protect(c.String("out"), "--out", path); err != nil {
			return fmt.Errorf("%w: the codes were made of it", err)
		}
	}
	p := newProgress(c, "decode", 10*time.Second)
	defer p.close()
	be, codec, err := openCheckpoint(c, p.log, offloading(c, task.OpenDecoder, task.OffloadDecoder))
	if err != nil {
		return err
	}
	defer be.Close()
	if err := fits(set, codec, c.Bool("other-tokenizer")); err != nil {
		return err
	}
	rate, err := commonFrameRate(c.Context, set)
	if err != nil {
		return err
	}
	s, err := openWriter(c, set.Classes, rate)
	if err != nil {
		return err
	}
	err = set.Each(c.Context, func(b codes.Block) error { return decodeBlock(c, set, b, codec, s, p) })
	if err := closeWriter(c.Context, s, set.Clips, err); err != nil {
		return err
	}
	p.close()
	return printWritten(c, written{Path: c.String("out"), Clips: set.Clips}, "%s", metrics.Plural(set.Clips, "clip"))
}

func decodeBlock(c *cli.Context, set *codes.Set, b codes.Block, codec *task.Codec, s data.Writer, p *progress) error {
	if err := inCodebook(set, b, codec); err != nil {
		return err
	}
	per := set.PerClip()
	clips := len(b.Codes) / per
	for from := 0; from < clips; from += workBatch {
		if err := c.Context.Err(); err != nil {
			return err
		}
		some := set.Shape(min(workBatch, clips-from))
		v := codec.VideoShape(some)
		video, err := codec.Decode(b.Codes[from*per:][:some[0]*per], v)
		if err != nil {
			return err
		}
		values := len(video) / v.N
		for n := range v.N {
			clip := aboutClip(b, from+n, v.T)
			clip.T, clip.H, clip.W, clip.C, clip.Video = v.T, v.H, v.W, v.C, video[n*values:][:values]
			if err := s.Add(clip); err != nil {
				return err
			}
		}
		done := b.First + from + v.N
		p.set(float64(done)/float64(set.Clips), fmt.Sprintf("%d of %d clips", done, set.Clips))
	}
	return nil
}

// aboutClip is the metadata of clip i, without pixels.
func aboutClip(b codes.Block, i, frames int) data.OutputClip {
	c := data.OutputClip{Name: fmt.Sprintf("%06d", b.First+i), Label: -1, Frames: frames}
	if b.Names != nil {
		c.Name = b.Names[i]
	}
	if b.Labels != nil {
		c.Label = int(b.Labels[i])
	}
	if b.Frames != nil {
		c.Frames = int(b.Frames[i])
	}
	return c
}

// fits checks that a set is of the checkpoint's tokenizer, or, with another allowed, of its kind.
func fits(s *codes.Set, codec *task.Codec, another bool) error {
	tok := codec.Tokenizer
	size, books, kind := tok.CodebookSize(), tok.Config.Quantizer.Codebooks, tok.Config.Quantizer.Kind
	switch {
	case s.Codebook != 0 && s.Codebook != size:
		return usagef("%s: made with a codebook of %d; the checkpoint's has %d: they do not match", s.Path, s.Codebook, size)
	case s.Codebooks != books:
		return usagef("%s: codes of %d codebooks; the checkpoint has %d", s.Path, s.Codebooks, books)
	case s.Quantizer != "" && s.Quantizer != kind:
		return usagef("%s: codes of the quantizer %s; the checkpoint's is %s", s.Path, s.Quantizer, kind)
	case s.Levels != nil && !slices.Equal(s.Levels, tok.CodebookLevels()):
		return usagef("%s: codes of the levels %v; the checkpoint's are %v", s.Path, s.Levels, tok.CodebookLevels())
	case s.Tokenizer != "" && s.Tokenizer != codec.SHA256 && !another:
		return usagef("%s: codes of another tokenizer (weights %.12s, step %d); the checkpoint has weights %.12s, step %d, to which these codes mean something else; --other-tokenizer decodes them all the same",
			s.Path, s.Tokenizer, s.Step, codec.SHA256, codec.Step)
	}
	return nil
}

// inCodebook checks the codes and numbers of frames of a block.
func inCodebook(s *codes.Set, b codes.Block, codec *task.Codec) error {
	size := codec.Tokenizer.CodebookSize()
	for i, v := range b.Codes {
		if int(v) >= size {
			return usagef("%s: code %d at %d; the checkpoint's codebook has %d", s.Path, v, b.First*s.PerClip()+i, size)
		}
	}
	t := codec.VideoShape(s.Shape(1)).T
	for i, n := range b.Frames {
		if n < 1 || int(n) > t {
			return usagef("%s: frames[%d] is %d; codes of shape %v are of clips of 1 to %d", s.Path, b.First+i, n, s.Shape(s.Clips), t)
		}
	}
	return nil
}

// commonFrameRate is the frame rate of the clips of a set, 0 if it is unknown or they differ.
func commonFrameRate(ctx context.Context, s *codes.Set) (rate float64, err error) {
	first := true
	err = s.Each(ctx, func(b codes.Block) error {
		for i := range len(b.Codes) / s.PerClip() {
			r := 0.
			if b.FPS != nil && b.FPS[i] > 0 && b.FPS[i] <= 1000 {
				r = float64(b.FPS[i])
			}
			if !first && r != rate {
				r = 0
			}
			rate, first = r, false
		}
		return nil
	})
	return rate, err
}
