// Package videocodec turns clips into what a video codec makes of them at a given rate.
//
// Clips come from a data.Source, as an evaluation reads them. Measure encodes them with
// ffmpeg's encoders of H.264 and AV1, and compares what their decoders return as
// reconstructions of a tokenizer are compared.
//
// Why one stream with a key frame at the first frame of each clip: each clip can be
// decoded alone, as its codes can, and a trial costs one process. The codec chooses
// how its bits are spread over frames and clips; a tokenizer gives each clip the same.
package videocodec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// Codec is a video codec with its settings, all but the constant rate factor.
type Codec struct {
	Name     string // H.264 or AV1
	Encoder  string // ffmpeg's name
	Settings string // for readers
	args     []string
	filter   string  // bitstream filter that removes headers that all clips share, and messages
	lowest   float64 // range of the constant rate factor, and the distance of its values
	highest  float64
	step     float64
}

// codecs are the settings that Measure uses: those of libraries that distributions build
// ffmpeg with, in one thread, so that streams do not depend on the machine's cores.
var codecs = []Codec{
	{Name: "H.264", Encoder: "libx264", Settings: "x264, preset medium", args: []string{"-preset", "medium", "-sc_threshold", "0"},
		filter: "filter_units=remove_types=6-9", highest: 51, step: 1. / 16},
	{Name: "AV1", Encoder: "libaom-av1", Settings: "libaom, cpu-used 6", args: []string{"-cpu-used", "6", "-b:v", "0"},
		filter: "filter_units=remove_types=1-2", highest: 63, step: 1},
}

// FileName is a Comparison in a run's directory.
const FileName = "codecs.json"

// Comparison is an evaluation's codes next to the codecs.
type Comparison struct {
	Step         int                   `json:"step"`
	Split        string                `json:"split"`
	Clips        int                   `json:"clips"`
	BitsPerPixel metrics.Number        `json:"bits_per_pixel"`
	EntropyRate  metrics.Number        `json:"entropy_bits_per_pixel"`
	Codes        metrics.Scores        `json:"codes"`
	Codecs       []metrics.CodecScores `json:"codecs"`
}

// Compare returns what an evaluation says of codes and codecs.
func Compare(step int, split string, r metrics.Report) Comparison {
	return Comparison{step, split, r.Clips, r.BitsPerPixel, r.EntropyRate,
		metrics.Scores{PSNR: r.PSNR, ForegroundPSNR: r.ForegroundPSNR, SSIM: r.SSIM}, r.Codecs}
}

// Measure encodes clips at the highest rate of at most bitsPerPixel, where the codec has
// one, and else at its lowest rate. A codec that ffmpeg has no encoder of has a Missing.
func Measure(ctx context.Context, src data.Source, indices []int, cfg data.Config, bitsPerPixel float64) ([]metrics.CodecScores, error) {
	list := make([]metrics.CodecScores, len(codecs))
	encoders, err := encoders(ctx)
	if err != nil {
		for i, c := range codecs {
			list[i] = missing(c, err.Error())
		}
		return list, ctx.Err()
	}
	if cfg, err = data.Resolve(ctx, src, indices, cfg); err != nil {
		return nil, err
	}
	s := &set{src: src, indices: indices, cfg: cfg, classes: src.Classes()}
	if s.dir, err = os.MkdirTemp("", "magvit-codecs-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	if err := s.write(ctx); err != nil {
		return nil, err
	}
	for i, c := range codecs {
		if !encoders[c.Encoder] {
			list[i] = missing(c, "this ffmpeg has no encoder "+c.Encoder)
			continue
		}
		if list[i], err = s.measure(ctx, c, bitsPerPixel); err != nil {
			return nil, fmt.Errorf("%s by %s: %w", c.Name, c.Encoder, err)
		}
	}
	return list, nil
}

func missing(c Codec, why string) metrics.CodecScores {
	unknown := metrics.Number(math.NaN())
	return metrics.CodecScores{Name: c.Name, Settings: c.Settings, Missing: why, BitsPerPixel: unknown,
		Scores: metrics.Scores{PSNR: unknown, ForegroundPSNR: unknown, SSIM: unknown}}
}

// set is the clips as one raw film.
type set struct {
	src     data.Source
	indices []int
	cfg     data.Config // resolved
	classes []string
	dir     string
	clips   int
	frames  int // of the clips, without those that fill them up
	w, h    int // of the raw film: even
}

func (s *set) raw() string { return filepath.Join(s.dir, "clips.rgb") }

// write writes the raw film. Frames of an odd size repeat their last row or column,
// since 4:2:0 needs even sizes.
func (s *set) write(ctx context.Context) error {
	f, err := os.Create(s.raw())
	if err != nil {
		return err
	}
	defer f.Close()
	s.h, s.w = (s.cfg.Height+1)/2*2, (s.cfg.Width+1)/2*2
	row := make([]byte, 3*s.w)
	_, err = s.each(ctx, func(b *data.Batch) error {
		s.clips++
		s.frames += b.Frames[0]
		for t := range b.T {
			for y := range s.h {
				for x := range s.w {
					at := ((t*b.H+min(y, b.H-1))*b.W + min(x, b.W-1)) * b.C
					for c := range 3 {
						row[3*x+c] = byte(b.Video[at+min(c, b.C-1)]*255 + .5)
					}
				}
				if _, err := f.Write(row); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	})
	if err == nil && s.clips == 0 {
		err = errors.New("none of the clips can be read")
	}
	return errors.Join(err, f.Close())
}

func (s *set) each(ctx context.Context, f func(b *data.Batch) error) ([]*data.ClipError, error) {
	return data.Each(ctx, s.src, s.indices, s.cfg, 1, f)
}

// measure searches the rate and compares the clips.
func (s *set) measure(ctx context.Context, c Codec, bitsPerPixel float64) (r metrics.CodecScores, err error) {
	pixels := float64(s.frames * s.cfg.Height * s.cfg.Width)
	crf, bits, err := search(c, bitsPerPixel*pixels, func(crf float64) (float64, error) { return s.bits(ctx, c, crf) })
	if err != nil {
		return r, err
	}
	settings := fmt.Sprintf("%s, crf %s", c.Settings, number(crf))
	if bits > bitsPerPixel*pixels {
		settings += ", its lowest rate"
	}
	scores, err := s.compare(ctx, c, crf)
	return metrics.CodecScores{Name: c.Name, Settings: settings,
		BitsPerPixel: metrics.Number(bits / pixels), Scores: scores}, err
}

// search is the lowest constant rate factor whose stream has at most the given bits, by
// bisection, or else the highest one; bits are those of its stream.
func search(c Codec, most float64, size func(crf float64) (float64, error)) (crf, bits float64, err error) {
	low, high := 0, int(math.Round((c.highest-c.lowest)/c.step))
	at := func(k int) float64 { return c.lowest + float64(k)*c.step }
	crf = at(high)
	if bits, err = size(crf); err != nil || bits > most {
		return crf, bits, err
	}
	for low < high && bits < .99*most {
		mid := (low + high) / 2
		b, err := size(at(mid))
		if err != nil {
			return crf, bits, err
		}
		if b <= most {
			high, crf, bits = mid, at(mid), b
		} else {
			low = mid + 1
		}
	}
	return crf, bits, nil
}

// compare decodes the clips of a stream and compares them with the originals.
func (s *set) compare(ctx context.Context, c Codec, crf float64) (metrics.Scores, error) {
	d, err := s.decode(ctx, c, crf)
	if err != nil {
		return metrics.Scores{}, err
	}
	defer d.close()
	acc, err := metrics.New(metrics.Config{H: s.cfg.Height, W: s.cfg.Width, C: s.cfg.Channels, CodebookSize: 1, Classes: s.classes, Foreground: data.Foreground})
	if err != nil {
		return metrics.Scores{}, err
	}
	frame := make([]byte, 3*s.h*s.w)
	recon := make([]float32, s.cfg.Whole(1).Values())
	if _, err := s.each(ctx, func(b *data.Batch) error {
		for t := range b.T {
			if _, err := io.ReadFull(d.out, frame); err != nil {
				return d.fail(err)
			}
			for y := range b.H {
				for x := range b.W {
					at := ((t*b.H+y)*b.W + x) * b.C
					rgb := frame[3*(y*s.w+x):][:3]
					if b.C == 1 {
						recon[at] = (float32(rgb[0]) + float32(rgb[1]) + float32(rgb[2])) / (3 * 255)
						continue
					}
					for c := range 3 {
						recon[at+c] = float32(rgb[c]) / 255
					}
				}
			}
		}
		return acc.Add(b.Names[0], b.Labels[0], b.Frames[0], b.Video, recon, nil)
	}); err != nil {
		return metrics.Scores{}, err
	}
	r := acc.Report()
	return metrics.Scores{PSNR: r.PSNR, ForegroundPSNR: r.ForegroundPSNR, SSIM: r.SSIM}, nil
}

func number(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", v), "0"), ".")
}
