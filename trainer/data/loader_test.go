package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"magvit/kernels/philox"
	"magvit/trainer/usage"
)

// memorySource is a Source in memory.
type memorySource struct {
	clips []Clip
	bad   map[int]bool
}

func (s *memorySource) Len() int           { return len(s.clips) }
func (s *memorySource) Name(i int) string  { return fmt.Sprintf("clip-%d", i) }
func (s *memorySource) Label(i int) int    { return s.clips[i].Label }
func (s *memorySource) Classes() []string  { return nil }
func (s *memorySource) Problems() []string { return nil }
func (s *memorySource) Close() error       { return nil }

func (s *memorySource) Read(_ context.Context, i int) (Clip, error) {
	if s.bad[i] {
		return Clip{}, &ClipError{s.Name(i), errors.New("torn")}
	}
	c := s.clips[i]
	c.Name = s.Name(i)
	c.Video = slices.Clone(c.Video)
	return c, nil
}

// dots is n clips [t,h,w,3] of a black dot of 2x2 pixels that walks over white.
func dots(n, t, h, w int) *memorySource {
	s := &memorySource{}
	for i := range n {
		r := philox.New(1, "dots", 0, uint64(i))
		v := slices.Repeat([]float32{1}, t*h*w*3)
		for f := range t {
			y, x := r.IntN(h-1), r.IntN(w-1)
			for k := range 3 {
				for _, p := range []int{y*w + x, y*w + x + 1, y*w + w + x, y*w + w + x + 1} {
					v[(f*h*w+p)*3+k] = 0
				}
			}
		}
		s.clips = append(s.clips, Clip{Label: i % 2, T: t, H: h, W: w, C: 3, Video: v})
	}
	return s
}

func upTo(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

func augmented() Config {
	return Config{Flip: true, Transpose: true, Shift: 3, Noise: .01, Rotation: 5, ForegroundWeight: 2, Grow: 1, ValShare: .2, Workers: 1,
		Crop: Crop{Batch: 6, Frames: 3, Size: 8, Moving: .85, WholeEvery: 3}}
}

// mustLoad closes the loader when the test ends, if the test does not.
func mustLoad(t *testing.T, src Source, cfg Config, batch int, train bool) *Loader {
	t.Helper()
	l, err := NewLoader(src, upTo(src.Len()), cfg, batch, 7, train)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// sameFloats compares arrays of pixels as a whole: cmp by itself takes a microsecond for each value.
var sameFloats = cmp.Comparer(func(a, b []float32) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) })

// next is a copy of the next batch.
func next(t *testing.T, l *Loader) Batch {
	t.Helper()
	b, err := l.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return *b.Clone()
}

// TestRestrict makes batches 0 and 1 of each step of 3 on one loader, and batch 2 on another. All batches of
// step 2 are of whole clips.
func TestRestrict(t *testing.T) {
	all := mustLoad(t, dots(10, 5, 16, 16), augmented(), 2, true)
	all.Restrict(3, 0, 3)
	var want []Batch
	for i := range 12 {
		want = append(want, next(t, all))
		if whole := want[i].T == 5; whole != (i/3 == 2) {
			t.Errorf("batch %d of step %d is of whole clips: %v", i%3, i/3, whole)
		}
	}
	for _, part := range [][2]int{{0, 2}, {2, 3}} {
		l := mustLoad(t, dots(10, 5, 16, 16), augmented(), 2, true)
		l.Restrict(3, part[0], part[1])
		for _, start := range []int{0, 1} {
			l.Seek(start)
			for i := 3 * start; i < len(want); i++ {
				if i%3 < part[0] || i%3 >= part[1] {
					continue
				}
				if d := cmp.Diff(want[i], next(t, l), sameFloats); d != "" {
					t.Errorf("batches %v of 3, from step %d, batch %d: %s", part, start, i, d)
				}
			}
		}
	}
	mustLoad(t, dots(10, 5, 16, 16), augmented(), 2, true).Restrict(3, 1, 1) // no step, and nothing waits for it
}

func TestBatchesDependOnSeedAndStepOnly(t *testing.T) {
	src := dots(10, 5, 16, 16)
	src.bad = map[int]bool{0: true, 3: true, 5: true, 8: true}
	var want []Batch
	l := mustLoad(t, src, augmented(), 2, true)
	for step := range 12 {
		want = append(want, next(t, l))
		if got := want[step].Shape(); got != l.Shape(step) {
			t.Errorf("step %d has shape %v, foretold %v", step, got, l.Shape(step))
		}
	}
	for _, workers := range []int{0, 2, 5} {
		cfg := augmented()
		cfg.Workers = workers
		l := mustLoad(t, src, cfg, 2, true)
		for step := range want {
			if d := cmp.Diff(want[step], next(t, l), sameFloats); d != "" {
				t.Fatalf("%d workers, step %d: %s", workers, step, d)
			}
		}
		for _, step := range []int{5, 0, 11} {
			l.Seek(step)
			if d := cmp.Diff(want[step], next(t, l), sameFloats); d != "" {
				t.Errorf("%d workers, after Seek(%d): %s", workers, step, d)
			}
		}
	}
	other, err := NewLoader(src, upTo(10), augmented(), 2, 8, true)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if cmp.Equal(want[0], next(t, other), sameFloats) {
		t.Error("another seed gives the same batch")
	}
}

func TestEachEpochHasEachClipOnce(t *testing.T) {
	cfg := Defaults()
	l := mustLoad(t, dots(7, 2, 4, 4), cfg, 3, true)
	var drawn []int
	for range 7 { // 21 clips, three epochs
		drawn = append(drawn, next(t, l).Index...)
	}
	var orders [][]int
	for e := range 3 {
		epoch := slices.Clone(drawn[7*e : 7*e+7])
		orders = append(orders, slices.Clone(epoch))
		slices.Sort(epoch)
		if d := cmp.Diff(upTo(7), epoch); d != "" {
			t.Errorf("epoch %d: %s", e, d)
		}
	}
	if slices.Equal(orders[0], orders[1]) && slices.Equal(orders[1], orders[2]) {
		t.Error("every epoch has the same order")
	}
	if got := l.Epoch(7); got != 3 {
		t.Errorf("step 7 is at epoch %v, want 3", got)
	}
}

func TestScheduleOfShapes(t *testing.T) {
	cfg := Config{Height: 16, Width: 12, Frames: 5, Channels: 3, Crop: Crop{Batch: 6, Frames: 3, Size: 8, WholeEvery: 3}}
	crop, whole := Shape{6, 3, 8, 8, 3}, Shape{2, 5, 16, 12, 3}
	for step, want := range []Shape{crop, crop, whole, crop, crop, whole, crop} {
		if got := cfg.Shape(step, 2); got != want {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
	if d := cmp.Diff([]Shape{crop, whole}, cfg.Shapes(2)); d != "" {
		t.Error(d)
	}
	for _, perStep := range []int{1, 2, 3} {
		for i := range 20 { // the closed form against counting
			if got, want := cfg.first(i+1, 2, perStep), cfg.first(i, 2, perStep)+cfg.Shape(i/perStep, 2).N; got != want {
				t.Errorf("%d batches a step: batch %d starts at clip %d, want %d", perStep, i+1, got, want)
			}
		}
	}
}

func TestCropsContainTheForeground(t *testing.T) {
	share := func(moving float64) float64 {
		cfg := Config{ForegroundWeight: 2, ValShare: .2, Workers: 1, Crop: Crop{Batch: 50, Frames: 1, Size: 6, Moving: moving}}
		l := mustLoad(t, dots(10, 3, 40, 40), cfg, 1, true)
		hits, all := 0., 0.
		for range 8 {
			b := next(t, l)
			for n := range b.N {
				all++
				if slices.Contains(b.Weight[n*36:(n+1)*36], 3) {
					hits++
				}
			}
		}
		return hits / all
	}
	// A random crop of 6 pixels meets the dot in about (7/35)^2 = 4 %; 400 draws, five standard errors.
	if got, want := share(.85), .85+.15*.04; math.Abs(got-want) > 5*math.Sqrt(want*(1-want)/400) {
		t.Errorf("%.3f of the crops hold the dot, want about %.3f", got, want)
	}
	if got := share(0); math.Abs(got-.04) > 5*math.Sqrt(.04*.96/400) {
		t.Errorf("%.3f of the crops anywhere hold the dot, want about .04", got)
	}
}

// A row is weight 1 + foreground weight exactly where the dot is, whatever was
// done to the picture.
func TestWeightsFollowTheAugmentation(t *testing.T) {
	cfg := augmented()
	cfg.Noise, cfg.Rotation, cfg.Grow = 0, 0, 0
	l := mustLoad(t, dots(9, 5, 16, 16), cfg, 2, true)
	heavy := 0
	for range 9 {
		b := next(t, l)
		for i, w := range b.Weight {
			want := float32(1)
			if b.Video[3*i] == 0 {
				want, heavy = 3, heavy+1
			}
			if w != want {
				t.Fatalf("pixel %d of value %v has weight %v, want %v", i, b.Video[3*i], w, want)
			}
		}
	}
	if heavy == 0 {
		t.Error("no foreground in nine batches")
	}
}

func TestShortClipsArePaddedAndLongOnesCut(t *testing.T) {
	cfg := Config{Frames: 4, ForegroundWeight: 2, ValShare: .2, Workers: 1}
	for _, train := range []bool{true, false} {
		b := next(t, mustLoad(t, dots(2, 3, 4, 4), cfg, 2, train))
		frame := 4 * 4 * 3
		for n := range 2 {
			row := b.Video[n*4*frame : (n+1)*4*frame]
			if !slices.Equal(row[2*frame:3*frame], row[3*frame:]) {
				t.Errorf("train %v: the added frame is not the last one repeated", train)
			}
			w := b.Weight[n*64 : (n+1)*64]
			if slices.Max(w[48:]) != 0 || slices.Min(w[:48]) != 1 || slices.Max(w[:48]) != 3 || b.Frames[n] != 3 {
				t.Errorf("train %v: %d frames, weights %v", train, b.Frames[n], w)
			}
		}
	}
	// Batches are made in memory that held others: the weights of a longer clip must not stay.
	mixed := dots(4, 4, 4, 4)
	mixed.clips[1], mixed.clips[3] = dots(2, 1, 4, 4).clips[0], dots(2, 2, 4, 4).clips[1]
	l := mustLoad(t, mixed, cfg, 1, true)
	for range 24 {
		b := next(t, l)
		if w := b.Weight; b.Frames[0] != mixed.clips[b.Index[0]].T || slices.Max(append(w[16*b.Frames[0]:], 0)) != 0 {
			t.Fatalf("clip %d: %d frames, weights %v", b.Index[0], b.Frames[0], w)
		}
	}
	src := dots(1, 9, 4, 4)
	starts := map[int]bool{}
	l = mustLoad(t, src, cfg, 1, true)
	for range 40 {
		b := next(t, l)
		for s := range 6 {
			if slices.Equal(b.Video, src.clips[0].Video[s*48:(s+4)*48]) {
				starts[s] = true
			}
		}
	}
	if len(starts) != 6 {
		t.Errorf("windows of 4 out of 9 frames start at %v, want 0 to 5", starts)
	}
	if b := next(t, mustLoad(t, src, cfg, 1, false)); !slices.Equal(b.Video, src.clips[0].Video[:4*48]) || b.Frames[0] != 4 {
		t.Error("evaluation does not take the first frames")
	}
}

func TestUnreadableClipsAreSkippedOrFatal(t *testing.T) {
	src := dots(6, 2, 4, 4)
	src.bad = map[int]bool{0: true, 4: true}
	cfg := Defaults()
	l := mustLoad(t, src, cfg, 2, true)
	for range 30 {
		for _, i := range next(t, l).Index {
			if src.bad[i] {
				t.Fatalf("clip %d cannot be read but is in a batch", i)
			}
		}
	}
	if n := len(l.Skipped()); n != 2 {
		t.Errorf("%d clips skipped, want 2", n)
	}
	cfg.Strict = true
	if _, err := NewLoader(src, upTo(6), cfg, 2, 7, true); !errors.Is(err, usage.Error) {
		t.Errorf("strict, first clip torn: %v", err)
	}
	cfg.Size, cfg.Frames, cfg.Channels = 4, 2, 3
	l = mustLoad(t, src, cfg, 6, true)
	for range 2 { // the error stays
		if _, err := l.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "step 0") || !strings.Contains(err.Error(), "torn") {
			t.Errorf("strict: %v", err)
		}
	}
	l.Close()
	src = &memorySource{clips: src.clips, bad: map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true, 5: true}}
	cfg.Strict = false
	if _, err := mustLoad(t, src, cfg, 2, true).Next(t.Context()); !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), "in a row") {
		t.Errorf("nothing to read: %v", err)
	}
	if _, err := Each(t.Context(), src, upTo(6), Defaults(), 2, func(*Batch) error { return nil }); !errors.Is(err, usage.Error) {
		t.Errorf("nothing to read for Each: %v", err)
	}
}

func TestNextIsCancelled(t *testing.T) {
	l := mustLoad(t, dots(2, 2, 4, 4), Defaults(), 1, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if b := next(t, l); b.N != 1 {
		t.Error("no batch after a cancelled Next")
	}
}

func TestEachGivesWholeClipsInOrder(t *testing.T) {
	src := dots(6, 3, 4, 6)
	src.bad = map[int]bool{1: true}
	var index, frames []int
	skipped, err := Each(t.Context(), src, []int{5, 1, 0, 2}, augmentedWhole(), 2, func(b *Batch) error {
		if b.Shape() != (Shape{len(b.Index), 3, 4, 6, 3}) || len(b.Video) != b.Shape().Values() || len(b.Weight) != b.Shape().Pixels() {
			t.Errorf("shape %v of %d clips, %d values, %d weights", b.Shape(), len(b.Index), len(b.Video), len(b.Weight))
		}
		for n, i := range b.Index {
			if !slices.Equal(b.Video[n*216:(n+1)*216], src.clips[i].Video) {
				t.Errorf("clip %d was changed", i)
			}
		}
		index, frames = append(index, b.Index...), append(frames, b.Frames...)
		return nil
	})
	if err != nil || len(skipped) != 1 || skipped[0].Name != "clip-1" {
		t.Errorf("skipped %v, error %v", skipped, err)
	}
	if d := cmp.Diff([][]int{{5, 0, 2}, {3, 3, 3}}, [][]int{index, frames}); d != "" {
		t.Error(d)
	}
	stop := errors.New("stop")
	if _, err := Each(t.Context(), src, []int{0, 2}, augmentedWhole(), 1, func(*Batch) error { return stop }); err != stop {
		t.Errorf("the caller's error: %v", err)
	}
}

func augmentedWhole() Config {
	c := augmented()
	c.Transpose, c.Crop = false, Crop{}
	return c
}

func TestClipsOfOtherSizesAreFitted(t *testing.T) {
	src := dots(3, 2, 8, 8)
	src.clips[1] = Clip{T: 1, H: 16, W: 24, C: 1, Video: slices.Repeat([]float32{.25}, 16*24)}
	src.clips[2] = Clip{T: 3, H: 4, W: 4, C: 3, Video: slices.Repeat([]float32{.5}, 3*4*4*3)}
	cfg := Defaults()
	b := next(t, mustLoad(t, src, cfg, 3, false))
	if b.Shape() != (Shape{3, 2, 8, 8, 3}) {
		t.Fatalf("shape %v", b.Shape())
	}
	for n, want := range []float32{-1, .25, .5} {
		for _, v := range b.Video[n*2*192 : (n+1)*2*192] {
			if want >= 0 && math.Abs(float64(v-want)) > 1e-6 { // float32 weights sum to 1 within 2^-22
				t.Fatalf("row %d holds %v, want %v", n, v, want)
			}
		}
	}
	if d := cmp.Diff([]int{2, 1, 2}, b.Frames); d != "" {
		t.Error(d)
	}
}

func TestConfigErrorsNameKeyValueAndWhatIsLegal(t *testing.T) {
	for _, c := range []struct {
		set  func(*Config)
		want string
	}{
		{func(c *Config) { c.Size = -1 }, "data.size: -1; legal: 0 to"},
		{func(c *Config) { c.Frames = 1 << 30 }, "data.frames: 1073741824; legal: 0 to"},
		{func(c *Config) { c.Height = 8 }, "data.height: 8 with data.width: 0"},
		{func(c *Config) { c.Height, c.Width, c.Size = 8, 8, 16 }, "data.size: 16 with height 8"},
		{func(c *Config) { c.Channels = 2 }, "data.channels: 2; legal: 3"},
		{func(c *Config) { c.Height, c.Width, c.Transpose = 8, 16, true }, "data.transpose: true with frames of 8x16"},
		{func(c *Config) { c.Size, c.Shift = 8, 8 }, "data.shift: 8; legal: 0 to 7"},
		{func(c *Config) { c.Noise = math.NaN() }, "data.noise: NaN; legal: 0 to 1"},
		{func(c *Config) { c.Rotation = 90 }, "data.rotation: 90; legal: 0 to 45"},
		{func(c *Config) { c.ForegroundWeight = math.Inf(1) }, "data.foreground_weight: +Inf"},
		{func(c *Config) { c.Grow = -1 }, "data.grow: -1"},
		{func(c *Config) { c.ValShare = 1 }, "data.val_share: 1; legal: above 0 and below 1"},
		{func(c *Config) { c.Workers = -1 }, "data.workers: -1"},
		{func(c *Config) { c.Crop.Batch = -1 }, "data.crop.batch: -1"},
		{func(c *Config) { c.Crop.Batch, c.Crop.Size, c.Size = 1, 32, 16 }, "data.crop.size: 32; legal: 1 to 16"},
		{func(c *Config) { c.Crop.Batch, c.Crop.Frames, c.Frames = 1, 8, 4 }, "data.crop.frames: 8; legal: 1 to 4"},
		{func(c *Config) { c.Crop.Batch, c.Crop.Moving = 1, 1.5 }, "data.crop.moving: 1.5; legal: 0 to 1"},
		{func(c *Config) { c.Crop.Batch, c.Crop.WholeEvery = 1, -2 }, "data.crop.whole_every: -2"},
	} {
		cfg := Defaults()
		c.set(&cfg)
		if err := cfg.Validate(); !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
	cfg := Defaults()
	cfg.Crop.Batch = 4
	if _, err := Resolve(t.Context(), dots(1, 4, 16, 16), []int{0}, cfg); err == nil || !strings.Contains(err.Error(), "crop.frames: 8; legal: 1 to 4") {
		t.Errorf("crops longer than the clips: %v", err)
	}
}
