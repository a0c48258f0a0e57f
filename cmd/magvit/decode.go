package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/data"
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
			fpsFlag(),
		}, deviceFlags()...),
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
	p := newProgress(c.App.ErrWriter, "decode", 10*time.Second)
	defer p.close()
	be, codec, err := openCheckpoint(c, p.log)
	if err != nil {
		return err
	}
	defer be.Close()
	if err := f.fits(codec); err != nil {
		return err
	}
	s, err := openWriter(c, f.classes)
	if err != nil {
		return err
	}
	err = f.decode(c, codec, s, p)
	if err := closeWriter(c.Context, s, f.shape[0], err); err != nil {
		return err
	}
	p.close()
	return printLine(c.App.Writer, "%s: %d clips", c.String("out"), f.shape[0])
}

// codeFile is what encode wrote.
type codeFile struct {
	path     string
	shape    [5]int // N, T', H', W', codebooks
	codes    []int32
	frames   []int64 // of each clip; nil: as many as the codes give
	labels   []int64 // nil: none
	names    []string
	classes  []string
	codebook int64 // size, 0: not known
}

func readCodes(path string) (f *codeFile, err error) {
	arrays, err := data.ReadArrays(path)
	if err != nil {
		return nil, err
	}
	f = &codeFile{path: path, shape: [5]int{4: 1}}
	codes, ok := arrays["codes"]
	values, whole := codes.Data.([]int64)
	switch {
	case !ok:
		return nil, usagef("%s: no array \"codes\" in it; magvit encode writes one", path)
	case !whole:
		return nil, usagef("%s: codes are not whole numbers; want int32", path)
	case len(codes.Shape) != 4 && len(codes.Shape) != 5:
		return nil, usagef("%s: codes of shape %v; want [N,T',H',W'], and an axis of codebooks if there are several", path, codes.Shape)
	case len(values) == 0:
		return nil, usagef("%s: codes of shape %v: there are no clips", path, codes.Shape)
	}
	copy(f.shape[:], codes.Shape)
	n := f.shape[0]
	f.codes = make([]int32, len(values))
	for i, v := range values {
		if v < 0 || v > 1<<31-1 {
			return nil, usagef("%s: code %d at %d; want 0 or more", path, v, i)
		}
		f.codes[i] = int32(v)
	}
	f.frames, _ = arrays["frames"].Data.([]int64)
	f.labels, _ = arrays["labels"].Data.([]int64)
	f.names, _ = arrays["names"].Data.([]string)
	f.classes, _ = arrays["classes"].Data.([]string)
	for name, length := range map[string]int{"frames": len(f.frames), "labels": len(f.labels), "names": len(f.names)} {
		if length != 0 && length != n {
			return nil, usagef("%s: %d %s for %d clips", path, length, name, n)
		}
	}
	if size, ok := arrays["codebook"].Data.([]int64); ok && len(size) == 1 {
		f.codebook = size[0]
	}
	return f, nil
}

// fits checks that the codes are of the checkpoint's kind.
func (f *codeFile) fits(codec *trainer.Codec) error {
	size, books := codec.Tokenizer.CodebookSize(), codec.Tokenizer.Config.Quantizer.Codebooks
	switch {
	case f.codebook != 0 && f.codebook != int64(size):
		return usagef("%s: made with a codebook of %d; the checkpoint's has %d: they do not match", f.path, f.codebook, size)
	case f.shape[4] != books:
		return usagef("%s: codes of %d codebooks; the checkpoint has %d", f.path, f.shape[4], books)
	}
	for i, v := range f.codes {
		if int(v) >= size {
			return usagef("%s: code %d at %d; the checkpoint's codebook has %d", f.path, v, i, size)
		}
	}
	t := codec.VideoShape(f.shape).T
	for i, n := range f.frames {
		if n < 1 || n > int64(t) {
			return usagef("%s: frames[%d] is %d; codes of shape %v are of clips of 1 to %d", f.path, i, n, f.shape, t)
		}
	}
	return nil
}

func (f *codeFile) decode(c *cli.Context, codec *trainer.Codec, s data.Writer, p *progress) error {
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
			clip := data.OutputClip{Name: fmt.Sprintf("%06d", i), Label: -1, Frames: b.T, T: b.T, H: b.H, W: b.W, C: b.C, Video: video[n*values:][:values]}
			if f.names != nil {
				clip.Name = f.names[i]
			}
			if f.labels != nil {
				clip.Label = int(f.labels[i])
			}
			if f.frames != nil {
				clip.Frames = int(f.frames[i])
			}
			if err := s.Add(clip); err != nil {
				return err
			}
		}
		p.set(float64(from+b.N)/float64(f.shape[0]), fmt.Sprintf("%d of %d clips", from+b.N, f.shape[0]))
	}
	return nil
}
