package data

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"magvit/trainer/usage"
)

func TestSynthIsBalancedWholeAndRepeatable(t *testing.T) {
	for _, style := range []string{"varied", "seed"} {
		cfg := SynthConfig{Clips: 40, Seed: 42, Size: 48, Frames: 9, Style: style}
		a, err := Synth(cfg)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := Synth(cfg)
		cfg.Seed++
		other, _ := Synth(cfg)
		var count [4]int
		sorted := true
		for i := range 40 {
			c := mustRead(t, a, i)
			count[c.Label]++
			sorted = sorted && c.Label == i%4
			if d := mustRead(t, b, i); !slices.Equal(c.Video, d.Video) || !slices.Equal(c.Trajectory, d.Trajectory) || c.Label != d.Label {
				t.Fatalf("%s: the same seed makes another clip %d", style, i)
			}
			if slices.Equal(c.Trajectory, mustRead(t, other, i).Trajectory) {
				t.Errorf("%s: another seed makes the same clip %d", style, i)
			}
			area := 0
			for f := range c.T {
				n := 0
				for p := range c.H * c.W {
					if c.Video[(f*c.H*c.W+p)*3+1] == 0 {
						n++
						if y, x := p/c.W, p%c.W; y == 0 || x == 0 || y == c.H-1 || x == c.W-1 {
							t.Fatalf("%s: clip %d, frame %d: the disc touches the frame", style, i, f)
						}
					}
				}
				if f == 0 {
					area = n
				}
				if n != area || n == 0 {
					t.Fatalf("%s: clip %d, frame %d: a disc of %d pixels, %d in frame 0", style, i, f, n, area)
				}
			}
		}
		if count != [4]int{10, 10, 10, 10} || sorted {
			t.Errorf("%s: %v clips of each class, in order: %v", style, count, sorted)
		}
	}
}

// The path that is stored is the one that is seen: through the clip's camera it
// falls on the dot. Only where the disc would leave the frame is it held back.
func TestSynthPathsMatchTheDot(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 200, Seed: 5, Size: 64, Frames: 16})
	if err != nil {
		t.Fatal(err)
	}
	off := 0
	for i := range set.clips {
		clip := &set.clips[i]
		c := mustRead(t, set, i)
		for f := range c.T {
			p := vec{float64(c.Trajectory[3*f]), float64(c.Trajectory[3*f+1]), float64(c.Trajectory[3*f+2])}
			x, y := clip.camera.project(p)
			var cx, cy, n float64
			for k := range c.H * c.W {
				if c.Video[(f*c.H*c.W+k)*3+1] == 0 {
					cx, cy, n = cx+float64(k%c.W), cy+float64(k/c.W), n+1
				}
			}
			// Positions are rounded down to a pixel.
			if dx, dy := x-cx/n, y-cy/n; dx < -1e-4 || dx > 1+1e-4 || dy < -1e-4 || dy > 1+1e-4 {
				off++
			}
		}
	}
	if off > 200*16/500 {
		t.Errorf("%d of %d frames show the dot elsewhere", off, 200*16)
	}
}

func TestSynthAddsNoiseToFourPathsInFive(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 1200, Seed: 5, Size: 64, Frames: 16})
	if err != nil {
		t.Fatal(err)
	}
	rough, lines := 0, 0
	for _, k := range set.clips {
		if k.class != linear {
			continue
		}
		lines++
		// A line without noise has no second direction.
		a, b := k.space[0], k.space[len(k.space)-1].plus(k.space[0].times(-1))
		worst := 0.
		for _, p := range k.space {
			d := p.plus(a.times(-1))
			along := (d[0]*b[0] + d[1]*b[1] + d[2]*b[2]) / (b[0]*b[0] + b[1]*b[1] + b[2]*b[2])
			r := d.plus(b.times(-along))
			worst = max(worst, math.Sqrt(r[0]*r[0]+r[1]*r[1]+r[2]*r[2]))
		}
		if worst > 1e-9 {
			rough++
		}
	}
	// Five standard errors of a share of .8.
	if share := float64(rough) / float64(lines); math.Abs(share-.8) > 5*math.Sqrt(.16/float64(lines)) {
		t.Errorf("%.3f of %d lines are augmented, want .8", share, lines)
	}
}

func TestWrittenSetReadsTheSame(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 6, Seed: 2, Size: 16, Frames: 5})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "synth")
	if err := set.WriteNPZ(t.Context(), path+".npz"); err != nil {
		t.Fatal(err)
	}
	src := mustOpen(t, Options{}, path+".npz")
	if d := cmp.Diff(set.Classes(), src.Classes()); d != "" {
		t.Error(d)
	}
	for i := range 6 {
		want, got := mustRead(t, set, i), mustRead(t, src, i)
		want.Name = got.Name
		if d := cmp.Diff(want, got, sameFloats); d != "" {
			t.Errorf("clip %d: %s", i, d)
		}
	}
}

func TestSynthRefusesIllegalSettings(t *testing.T) {
	good := SynthConfig{Clips: 1, Size: 16, Frames: 2}
	for want, set := range map[string]func(*SynthConfig){
		"clips: 0; legal: 1 to":        func(c *SynthConfig) { c.Clips = 0 },
		"size: 8; legal: 16 to":        func(c *SynthConfig) { c.Size = 8 },
		"frames: -1; legal: 2 to":      func(c *SynthConfig) { c.Frames = -1 },
		`style: "x"; legal: varied, s`: func(c *SynthConfig) { c.Style = "x" },
	} {
		c := good
		set(&c)
		if _, err := Synth(c); !errors.Is(err, usage.Error) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
