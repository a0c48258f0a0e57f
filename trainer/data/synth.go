package data

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"magvit/kernels/philox"
)

// SynthConfig says which set Synth makes.
type SynthConfig struct {
	Clips  int
	Seed   uint64
	Size   int    // side of a frame in pixels
	Frames int    // of a clip
	Style  string // "varied" (or ""), or "seed": narrower ranges, so that speed alone reveals the class
}

// Set is a synthetic set: four classes of paths in space, balanced and shuffled,
// each rendered as a red disc with a black ring on white. It is a Source that
// renders a clip when it is read. The colours are exactly 0 and 1.
type Set struct {
	cfg    SynthConfig
	radius float64
	clips  []trajectory
}

// Synth makes a set; the same SynthConfig makes the same set.
func Synth(cfg SynthConfig) (*Set, error) {
	for _, c := range []struct {
		key          string
		v, low, high int
	}{{"clips", cfg.Clips, 1, 10_000_000}, {"size", cfg.Size, 16, 1024}, {"frames", cfg.Frames, 2, 4096}} {
		if c.v < c.low || c.v > c.high {
			return nil, badf("synth: %s: %d; legal: %d to %d", c.key, c.v, c.low, c.high)
		}
	}
	draw := variedTrajectory
	switch cfg.Style {
	case "", "varied":
	case "seed":
		draw = seedTrajectory
	default:
		return nil, badf("synth: style: %q; legal: varied, seed", cfg.Style)
	}
	// Five pixels of 64, as in the published numbers on sets of this kind.
	s := &Set{cfg: cfg, radius: 5 * float64(cfg.Size) / 64, clips: make([]trajectory, cfg.Clips)}
	margin := math.Ceil(s.radius + 1.5)
	for i, k := range philox.New(cfg.Seed, "synth order", 0, 0).Perm(cfg.Clips) {
		s.clips[i] = draw(k%len(motions), cfg.Frames, float64(cfg.Size), margin, philox.New(cfg.Seed, "synth", 0, uint64(i)))
	}
	return s, nil
}

func (s *Set) Len() int           { return len(s.clips) }
func (s *Set) Name(i int) string  { return fmt.Sprintf("synth/%06d", i) }
func (s *Set) Label(i int) int    { return s.clips[i].class }
func (s *Set) Problems() []string { return nil }
func (s *Set) Close() error       { return nil }

func (s *Set) Classes() []string {
	var names []string
	for _, m := range motions {
		names = append(names, m.name)
	}
	return names
}

// Read draws clip i.
func (s *Set) Read(ctx context.Context, i int) (Clip, error) { return s.readInto(ctx, i, nil) }

func (s *Set) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	t, m := &s.clips[i], motions[s.clips[i].class]
	side := s.cfg.Size
	c := Clip{Name: s.Name(i), Label: t.class, T: s.cfg.Frames, H: side, W: side, C: 3,
		Video: grown(video, s.cfg.Frames*side*side*3), Equation: m.equation, Description: m.description}
	for f := range s.cfg.Frames {
		drawDisc(c.Video[f*side*side*3:(f+1)*side*side*3], side, t.pixels[f], s.radius)
		c.Trajectory = append(c.Trajectory, float32(t.space[f][0]), float32(t.space[f][1]), float32(t.space[f][2]))
		c.Points = append(c.Points, float32(t.pixels[f][0]), float32(t.pixels[f][1]))
	}
	if err := ctx.Err(); err != nil {
		return Clip{}, err
	}
	return c, nil
}

// drawDisc draws a frame [side,side,3]: red within radius + 1/2 of the pixel that
// contains at, then a black ring of one pixel, white elsewhere.
func drawDisc(frame []float32, side int, at [2]float64, radius float64) {
	x0, y0 := math.Floor(at[0]), math.Floor(at[1])
	for i := range side * side {
		d := math.Hypot(float64(i%side)-x0, float64(i/side)-y0)
		rgb := [3]float32{1, 1, 1}
		if d <= radius+.5 {
			rgb = [3]float32{1, 0, 0}
		} else if d <= radius+1.5 {
			rgb = [3]float32{}
		}
		copy(frame[3*i:], rgb[:])
	}
}

// WriteNPZ writes the set as an .npz file: videos float32 [N,T,3,H,W], labels
// int64 [N], trajectory_3d float32 [N,T,3], points_2d float32 [N,T,2] (the
// centre in pixels, x and y, before rounding down), equations and descriptions
// text [N], classes text [4]. The file appears under its name when it is whole.
func (s *Set) WriteNPZ(ctx context.Context, path string) error {
	n, t, side := len(s.clips), s.cfg.Frames, s.cfg.Size
	return writeNPZ(path, func(w *npzWriter) error {
		videos, err := w.array("videos", "<f4", []int{n, t, 3, side, side})
		if err != nil {
			return err
		}
		var labels []int64
		var space, pixels, video []float32
		var equations, descriptions []string
		raw := make([]byte, t*3*side*side*4)
		for i, clip := range s.clips {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, err := s.readInto(ctx, i, video)
			if err != nil {
				return err
			}
			video = c.Video
			for k := range t * 3 * side * side {
				frame, colour, p := k/(3*side*side), k/(side*side)%3, k%(side*side)
				binary.LittleEndian.PutUint32(raw[4*k:], math.Float32bits(video[(frame*side*side+p)*3+colour]))
			}
			if _, err := videos.Write(raw); err != nil {
				return err
			}
			labels, space = append(labels, int64(c.Label)), append(space, c.Trajectory...)
			for _, p := range clip.pixels {
				pixels = append(pixels, float32(p[0]), float32(p[1]))
			}
			equations, descriptions = append(equations, c.Equation), append(descriptions, c.Description)
		}
		return w.add(
			Array{"labels", []int{n}, labels},
			Array{"trajectory_3d", []int{n, t, 3}, space},
			Array{"points_2d", []int{n, t, 2}, pixels},
			Array{"equations", []int{n}, equations},
			Array{"descriptions", []int{n}, descriptions},
			Array{"classes", []int{len(motions)}, s.Classes()},
		)
	})
}
