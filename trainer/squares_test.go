package trainer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/trainer/config"
	"magvit/trainer/data"
)

// squares is so many clips of a dark square that moves over white, in two classes
// by its direction: enough for everything but the quality of what is learnt.
type squares struct{ clips, frames, side int }

func (s squares) Len() int           { return s.clips }
func (s squares) Name(i int) string  { return fmt.Sprintf("square-%03d", i) }
func (s squares) Label(i int) int    { return i % 2 }
func (s squares) Classes() []string  { return []string{"across", "down"} }
func (s squares) Problems() []string { return nil }
func (s squares) Close() error       { return nil }

func (s squares) Read(_ context.Context, i int) (data.Clip, error) {
	r := philox.New(1, "square", 0, uint64(i))
	x, y, shade := r.IntN(s.side-4), r.IntN(s.side-4), float32(r.Uniform(0, .3))
	c := data.Clip{Name: s.Name(i), Label: s.Label(i), T: s.frames, H: s.side, W: s.side, C: 3, Video: make([]float32, s.frames*s.side*s.side*3)}
	for k := range c.Video {
		c.Video[k] = 1
	}
	for f := range s.frames {
		at := [2]int{x, y}
		at[i%2] = (at[i%2] + f) % (s.side - 4)
		for dy := range 4 {
			for dx := range 4 {
				p := ((f*s.side+at[1]+dy)*s.side + at[0] + dx) * 3
				c.Video[p], c.Video[p+1], c.Video[p+2] = shade, shade, shade
			}
		}
	}
	return c, nil
}

// mini is the configuration of a network that does a step in milliseconds.
const mini = `
model:
  image_size: 16
  patch: 4
  background: 1
  init_dim: 8
  layers: [residual, [compress_time, 12], residual]
  input_kernel: [1, 3, 3]
  output_kernel: [1, 3, 3]
  residual_kernel: [1, 3, 3]
  squeeze_excite: none
  quantizer: {kind: fsq, levels: [8, 5, 5]}
data: {shift: 2, val_share: 0.25}
train: {steps: 6, batch: 2, lr: 4e-3, warmup: 2, ema: {decay: 0.9, update_after: 2, update_every: 1}, log_every: 1, samples: 2}
`

// small is the options of such a run; its log goes to the returned buffer.
func small(t *testing.T, sets ...string) (Options, *bytes.Buffer) {
	t.Helper()
	cfg, err := config.Parse("mini", []byte(mini))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		if err := cfg.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	be := kernels.NewCPU(0)
	t.Cleanup(func() { be.Close() })
	log := &bytes.Buffer{}
	return Options{Config: cfg, Source: squares{16, 4, 16}, Out: filepath.Join(t.TempDir(), "run"), Backend: be, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// refused checks that an error is the user's and says all of the wanted texts.
func refused(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
