package main

import (
	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/task"
)

func reconstructCommand() *cli.Command {
	return &cli.Command{
		Name:  "reconstruct",
		Usage: "show clips next to their reconstructions",
		Description: example("magvit reconstruct --checkpoint runs/demo --data clips.npz --split val --limit 8 --out seen.mp4",
			"magvit reconstruct --checkpoint runs/demo --data clips.npz --out seen.npz"),
		Flags: workFlags("all", append(append(clipFlags(), mediaFlags()...),
			&cli.StringFlag{Name: "out", Usage: "`PATH` to write: .mp4, .gif or a folder of PNG, originals to the left; .npz with videos (the reconstructions) and originals; an existing file is replaced"})...),
		Action: reconstruct,
	}
}

func reconstruct(c *cli.Context) (err error) {
	if err := need(c, "checkpoint", "data", "out"); err != nil {
		return err
	}
	if err := checkMedia(c); err != nil {
		return err
	}
	if err := protect(c.String("out"), "--out", append(c.StringSlice("data"), checkpointInputs(c.String("checkpoint"))...)...); err != nil {
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
	fps := 0.
	if isMovie(c.String("out")) && !c.IsSet("fps") {
		if fps, err = w.commonRate(); err != nil {
			return err
		}
	}
	s, err := openWriter(c, w.src.Classes(), fps)
	if err != nil {
		return err
	}
	count := 0
	err = w.each(func(b *data.Batch, codes []int32, _ int) error {
		video, err := w.codec.Decode(codes, b.Shape())
		if err != nil {
			return err
		}
		values := len(video) / b.N
		for n := range b.N {
			clip := data.OutputClip{Name: b.Names[n], Label: b.Labels[n], Frames: b.Frames[n], T: b.T, H: b.H, W: b.W, C: b.C,
				Video: video[n*values:][:values], Original: b.Video[n*values:][:values]}
			if err := s.Add(clip); err != nil {
				return err
			}
			count++
		}
		return nil
	})
	if err := closeWriter(c.Context, s, count, err); err != nil {
		return err
	}
	w.p.close()
	return printWritten(c, written{Path: c.String("out"), Clips: count}, "%s, reconstructed from codes", metrics.Plural(count, "clip"))
}
