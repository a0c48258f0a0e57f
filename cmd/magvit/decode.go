package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
	"magvit/trainer/task"
)

func decodeCommand() *cli.Command {
	return &cli.Command{
		Name:  "decode",
		Usage: "turn integer codes into clips",
		Description: example("magvit decode --checkpoint runs/demo --codes codes.npz --out clips.npz",
			"magvit decode --checkpoint runs/demo --codes codes.npz --out clips.gif"),
		Flags: append([]cli.Flag{
			checkpointFlag(),
			&cli.StringFlag{Name: "codes", Usage: "the .npz `FILE` that encode wrote, or any with int32 codes [N,T',H',W']"},
			&cli.StringFlag{Name: "out", Usage: "`PATH` to write: .npz, .mp4, .gif or a folder of PNG; an existing file is replaced"},
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
	if err := protect(c.String("out"), "--out", append(checkpointInputs(c), c.String("codes"))...); err != nil {
		return err
	}
	f, err := readCodes(c.String("codes"))
	if err != nil {
		return err
	}
	p := newProgress(c, "decode", 10*time.Second)
	defer p.close()
	be, codec, err := openCheckpoint(c, p.log)
	if err != nil {
		return err
	}
	defer be.Close()
	if err := f.fits(codec, c.Bool("other-tokenizer")); err != nil {
		return err
	}
	s, err := openWriter(c, f.classes, f.commonRate())
	if err != nil {
		return err
	}
	err = f.decode(c, codec, s, p)
	if err := closeWriter(c.Context, s, f.shape[0], err); err != nil {
		return err
	}
	p.close()
	return printWritten(c, written{Path: c.String("out"), Clips: f.shape[0]}, "%d clips", f.shape[0])
}

func (f *codeFile) decode(c *cli.Context, codec *task.Codec, s data.Writer, p *progress) error {
	per := len(f.codes) / f.shape[0]
	for from := 0; from < f.shape[0]; from += workBatch {
		if err := c.Context.Err(); err != nil {
			return err
		}
		some := f.shape
		some[0] = min(workBatch, f.shape[0]-from)
		b := codec.VideoShape(some)
		video, err := codec.Decode(f.codes[from*per:][:some[0]*per], b)
		if err != nil {
			return err
		}
		values := len(video) / b.N
		for n := range b.N {
			i := from + n
			clip := f.clip(i, b.T)
			clip.T, clip.H, clip.W, clip.C, clip.Video = b.T, b.H, b.W, b.C, video[n*values:][:values]
			if err := s.Add(clip); err != nil {
				return err
			}
		}
		p.set(float64(from+b.N)/float64(f.shape[0]), fmt.Sprintf("%d of %d clips", from+b.N, f.shape[0]))
	}
	return nil
}
