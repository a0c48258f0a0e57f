package model

import (
	"slices"
	"strings"
	"testing"
)

// Of one channel and patches of 2, values at one corner: the means and differences along each axis in the order of bands.
func TestHaarLiterals(t *testing.T) {
	forward, inverse := haar(1, 2)
	column := func(m []float32, i int) (c []float32) {
		for k := range 8 {
			c = append(c, m[k*8+i])
		}
		return c
	}
	// Of the value in the last row, first frame and column only differences along rows change their sign.
	if got, want := column(forward, 2), []float32{.125, .125, -.125, -.125, .125, .125, -.125, -.125}; !slices.Equal(got, want) {
		t.Errorf("coefficients %v, want %v", got, want)
	}
	if got, want := column(inverse, 4), []float32{1, 1, 1, 1, -1, -1, -1, -1}; !slices.Equal(got, want) {
		t.Errorf("values of a difference of frames %v, want %v", got, want)
	}
	for _, p := range []int{1, 2, 4} {
		forward, inverse := haar(3, p)
		n := 3 * p * p * p
		for i := range n {
			for k := range n {
				sum, want := float32(0), float32(0)
				for j := range n {
					sum += inverse[i*n+j] * forward[j*n+k]
				}
				if i == k {
					want = 1
				}
				if sum != want {
					t.Fatalf("patches of %d: the inverse of the transform is %v at %d, %d, want %v", p, sum, i, k, want)
				}
			}
		}
	}
}

// The second round takes pairs of the first one's coefficients: of patches of 4 the value at frame 2 has an own sign in the
// difference of frames of the second round alone.
func TestHaarOfTwoRounds(t *testing.T) {
	forward, _ := haar(1, 4)
	at := 2 * 16
	for k, want := range map[int]float32{0: 1, 4: 1, 4 * 8: -1, 4*8 + 4: -1} {
		if got := forward[k*64+at] * 64; got != want {
			t.Errorf("coefficient %d: %v, want %v", k, got, want)
		}
	}
}

func TestCosmosValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"space":   {func(c *Config) { c.Published.SpaceFactor = 12 }, "space_factor: 12: want patch times a power of two, 4 to 16"},
		"levels":  {func(c *Config) { c.Published.SpaceFactor = 32 }, "space_factor: 32"},
		"time":    {func(c *Config) { c.Published.TimeFactor = 16 }, "time_factor: 16: want patch times a power of two, 4 to 8"},
		"none":    {func(c *Config) { c.Published.SpaceFactor = 0 }, "space_factor: 0"},
		"latents": {func(c *Config) { c.Published.Latents = 0 }, "latents: 0"},
		"patch":   {func(c *Config) { c.Patch = 3 }, "patch: 3: want 1, 2, 4 or 8"},
		"keys":    {func(c *Config) { c.Published.Version = "1.0" }, "its keys are"},
		"vidtok":  {func(c *Config) { c.Compat = VidTok }, "keys of compat cosmos"},
		"of none": {func(c *Config) { c.Compat = "" }, "only with compat"},
	} {
		config := CosmosConfig(8, 4, []int{8, 8, 5}, Published{Multipliers: []int{1, 2, 2}, Blocks: 1, SpaceFactor: 8, TimeFactor: 8, Latents: 4})
		if err := config.Validate(); err != nil {
			t.Fatal(err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A frame's latents depend on no later frame, of all frames.
func TestCosmosIsCausal(t *testing.T) {
	tok, err := New(CosmosConfig(8, 2, []int{8, 8, 8}, Published{Multipliers: []int{1, 2, 2}, Blocks: 1, SpaceFactor: 8, TimeFactor: 4, Latents: 4}))
	check(t, err)
	s := Shape{N: 1, T: 9, H: 16, W: 16}
	video := make([]float32, s.T*s.H*s.W*3)
	for i := range video {
		video[i] = float32(i*i%97) / 97
	}
	before := latentsOf(t, tok, s, video)
	frame := len(video) / s.T
	for coded, first := range []int{1, 5} { // frames that the codes so far stand for
		changed := slices.Clone(video)
		clear(changed[first*frame:])
		after, known := latentsOf(t, tok, s, changed), (coded+1)*len(before)/3
		if !slices.Equal(after[:known], before[:known]) || slices.Equal(after[known:], before[known:]) {
			t.Errorf("frames from %d on changed: want other latents of these, and the same of those before", first)
		}
	}
}
