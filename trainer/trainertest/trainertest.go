// Package trainertest has what tests of the trainer's packages share: small clips, a small network, checks of errors.
package trainertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"magvit/kernels/philox"
	"magvit/trainer/data"
)

// Squares is clips of a dark square that moves over white, in two classes by its
// direction: enough for everything but the quality of what is learnt.
type Squares struct{ Clips, Frames, Side int }

func (s Squares) Len() int           { return s.Clips }
func (s Squares) Name(i int) string  { return fmt.Sprintf("square-%03d", i) }
func (s Squares) Label(i int) int    { return i % 2 }
func (s Squares) Classes() []string  { return []string{"across", "down"} }
func (s Squares) Problems() []string { return nil }
func (s Squares) Close() error       { return nil }

func (s Squares) Read(_ context.Context, i int) (data.Clip, error) {
	r := philox.New(1, "square", 0, uint64(i))
	x, y, shade := r.IntN(s.Side-4), r.IntN(s.Side-4), float32(r.Uniform(0, .3))
	c := data.Clip{Name: s.Name(i), Label: s.Label(i), T: s.Frames, H: s.Side, W: s.Side, C: 3, Video: make([]float32, s.Frames*s.Side*s.Side*3)}
	for k := range c.Video {
		c.Video[k] = 1
	}
	for f := range s.Frames {
		at := [2]int{x, y}
		at[i%2] = (at[i%2] + f) % (s.Side - 4)
		for dy := range 4 {
			for dx := range 4 {
				p := ((f*s.Side+at[1]+dy)*s.Side + at[0] + dx) * 3
				c.Video[p], c.Video[p+1], c.Video[p+2] = shade, shade, shade
			}
		}
	}
	return c, nil
}

// Mini is the configuration of a network that does a step in milliseconds, without pictures, which take longer than all steps.
const Mini = `
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
train: {steps: 6, batch: 2, lr: 4e-3, warmup: 2, ema: {decay: 0.9, update_after: 2, update_every: 1}, log_every: 1, samples: 0}
`

// Refused checks that there is an error and that it contains all of the wanted texts.
func Refused(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not contain %q", err, w)
		}
	}
}

// Check fails the test at an error.
func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
