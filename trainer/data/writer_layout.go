package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"magvit/trainer/usage"
)

// Layouts are the ways to write several clips into .mp4 or .gif.
var Layouts = []string{"sequence", "grid", "files"}

// NewMovieWriter writes clips as a movie of fps frames a second: one after another (sequence), side by side (grid), or
// each into a file of its own (files), whose name is that of path with the clip's number.
func NewMovieWriter(ctx context.Context, path, layout string, fps float64) (Writer, error) {
	movie := func(path string) *movieWriter {
		return &movieWriter{ctx: ctx, path: path, fps: fps, limit: frameLimit, finish: finishLimit}
	}
	switch layout {
	case "", "sequence":
		return movie(path), nil
	case "grid":
		return &gridWriter{movie: movie(path)}, nil
	case "files":
		return &filesWriter{movie: movie, path: path}, nil
	}
	return nil, usage.Errorf("layout %q; legal: %s", layout, strings.Join(Layouts, ", "))
}

// maxGrid bounds the clips of a grid, which are in memory until it is written.
const maxGrid = 400

// gridWriter writes a movie with all clips side by side, the first one top left. Shorter clips repeat their last frame.
type gridWriter struct {
	movie *movieWriter
	clips []OutputClip
}

func (g *gridWriter) Add(clip OutputClip) error {
	if len(g.clips) == maxGrid {
		return usage.Errorf("%s: more than %d clips in a grid; write fewer (--limit), or another layout", g.movie.path, maxGrid)
	}
	clip.Video, clip.Original = clamped(clip.Video), clamped(clip.Original)
	g.clips = append(g.clips, clip)
	return nil
}

func (g *gridWriter) Finish() error {
	w, h, frames := 0, 0, 0
	for _, c := range g.clips {
		w, h, frames = max(w, c.width()), max(h, c.H), max(frames, c.Frames)
	}
	// As near to a square as whole columns allow.
	columns := min(max(1, int(math.Ceil(math.Sqrt(float64(len(g.clips)*h)/float64(w))))), len(g.clips))
	rows := (len(g.clips) + columns - 1) / columns
	whole := OutputClip{Name: "grid", Frames: frames, T: frames, H: rows*(h+gap) - gap, W: columns*(w+gap) - gap, C: 3}
	whole.Video = make([]float32, frames*whole.H*whole.W*3)
	for i := range whole.Video {
		whole.Video[i] = 128. / 255
	}
	for i, c := range g.clips {
		top, left := i/columns*(h+gap), i%columns*(w+gap)
		for f := range frames {
			picture := c.picture(min(f, c.Frames-1))
			for y := range c.H {
				for x := range c.width() {
					to, from := ((f*whole.H+top+y)*whole.W+left+x)*3, picture.PixOffset(x, y)
					for k := range 3 {
						whole.Video[to+k] = float32(picture.Pix[from+k]) / 255
					}
				}
			}
		}
	}
	return errors.Join(g.movie.Add(whole), g.movie.Finish())
}

func (g *gridWriter) Abort() { g.movie.Abort() }

// filesWriter writes each clip into a file of its own. All of them get their names at the end.
type filesWriter struct {
	movie func(path string) *movieWriter
	path  string
	done  []*movieWriter
}

func (s *filesWriter) Add(clip OutputClip) error {
	ext := filepath.Ext(s.path)
	m := s.movie(fmt.Sprintf("%s-%06d%s", strings.TrimSuffix(s.path, ext), len(s.done), ext))
	s.done = append(s.done, m)
	if err := m.Add(clip); err != nil {
		return err
	}
	return m.encode()
}

func (s *filesWriter) Finish() error {
	for _, m := range s.done {
		if err := m.file.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (s *filesWriter) Abort() {
	for _, m := range s.done {
		m.Abort()
	}
}
