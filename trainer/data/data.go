// Package data turns files into batches.
//
// Files enter through Open, which gives a Source of clips; batches leave through
// a Loader (training: random, endless, augmented) or Each (evaluation: whole
// clips, in order). Synth makes a set when there are no files.
//
// Why a Source reads on demand: a folder may hold hundreds of thousands of
// clips, so only their names stay in memory. Why a batch is a function of (seed,
// step): a resumed run needs nothing but its step, and any number of workers
// gives the same batches.
package data

import (
	"context"

	"magvit/trainer/usage"
)

func badf(format string, args ...any) error { return usage.Errorf(format, args...) }

// ClipError reports a clip that cannot be read; the others can be. A Loader and
// Each skip such a clip and count it, unless Config.Strict.
type ClipError struct {
	Name string
	Err  error
}

func (e *ClipError) Error() string   { return e.Name + ": " + e.Err.Error() }
func (e *ClipError) Unwrap() error   { return e.Err }
func (e *ClipError) Is(t error) bool { return t == usage.Error }

// Clip is one clip, decoded.
type Clip struct {
	Name        string
	Label       int // class, -1 without one
	T, H, W, C  int
	Video       []float32 // [T,H,W,C] in [0,1]
	Trajectory  []float32 // [T,3] path in space, or nil; NaN where it is not known
	Points      []float32 // [T,2] the same in the picture, x and y in pixels, or nil; pixel i covers [i,i+1); NaN where it is not known
	Equation    string    // of the path, where the file has it
	Description string    // of the motion, where the file has it
	Times       []float64 // [T] seconds at which the frames are shown, or nil
	Span        [2]int    // of a window: its first frame in the whole clip, and the last plus 1; zero for a whole clip
}

// Source is a list of clips, read on demand. Its methods are safe for concurrent use.
type Source interface {
	Len() int
	// Name identifies clip i; it does not change when other clips come or go.
	Name(i int) string
	// Label is the class of clip i, or -1.
	Label(i int) int
	// Classes names the classes by label; nil where there are no labels.
	Classes() []string
	// Read decodes clip i. A clip that cannot be decoded is a *ClipError.
	Read(ctx context.Context, i int) (Clip, error)
	// Problems lists what Open left out or tolerated, one sentence each.
	Problems() []string
	// Close removes temporary files.
	Close() error
}

// Batch is N clips, or crops of clips, of one shape.
type Batch struct {
	N, T, H, W, C int
	Video         []float32 // [N,T,H,W,C] in [0,1]
	Weight        []float32 // [N,T,H,W] loss weight of a pixel, 0 on padding
	Points        []float32 // [N,T,2] Clip.Points mapped to these frames
	Space         []float32 // [N,T,3] Clip.Trajectory
	HasPoints     []bool    // [N] the clip has Points in all of these frames; if false, they are 0
	HasSpace      []bool    // [N] the same of Space
	Frames        []int     // [N] frames of each clip before padding, which repeats the last one
	Labels        []int     // [N] class, -1 without one
	Index         []int     // [N] index in the Source
	Span          [][2]int  // [N] first frame of the window in the Source's clip, and the last plus 1
	Names         []string  // [N]
	Number        int       // of a Loader's batch, from 0
}

// Shape is the shape of a batch's video.
type Shape struct{ N, T, H, W, C int }

// Shape is the shape of b.Video.
func (b *Batch) Shape() Shape { return Shape{b.N, b.T, b.H, b.W, b.C} }

// Pixels is N*T*H*W, the length of a batch's Weight.
func (s Shape) Pixels() int { return s.N * s.T * s.H * s.W }

// Values is N*T*H*W*C, the length of a batch's Video.
func (s Shape) Values() int { return s.Pixels() * s.C }

// Clone is a copy that shares no memory with b.
func (b *Batch) Clone() *Batch {
	c := &Batch{}
	b.CopyTo(c)
	return c
}

// CopyTo makes c a copy that shares no memory with b. It reuses the memory of c where that suffices.
func (b *Batch) CopyTo(c *Batch) {
	c.N, c.T, c.H, c.W, c.C, c.Number = b.N, b.T, b.H, b.W, b.C, b.Number
	c.Video, c.Weight, c.Points, c.Space = append(c.Video[:0], b.Video...), append(c.Weight[:0], b.Weight...), append(c.Points[:0], b.Points...), append(c.Space[:0], b.Space...)
	c.HasPoints, c.HasSpace = append(c.HasPoints[:0], b.HasPoints...), append(c.HasSpace[:0], b.HasSpace...)
	c.Frames, c.Labels, c.Index = append(c.Frames[:0], b.Frames...), append(c.Labels[:0], b.Labels...), append(c.Index[:0], b.Index...)
	c.Names, c.Span = append(c.Names[:0], b.Names...), append(c.Span[:0], b.Span...)
}

// resize gives b this shape, reusing its memory where that suffices.
func (b *Batch) resize(s Shape) {
	b.N, b.T, b.H, b.W, b.C = s.N, s.T, s.H, s.W, s.C
	b.Video = grown(b.Video, s.Values())
	b.Weight = grown(b.Weight, s.Pixels())
	b.Points, b.Space = grown(b.Points, s.N*s.T*2), grown(b.Space, s.N*s.T*3)
	b.HasPoints, b.HasSpace = grown(b.HasPoints, s.N), grown(b.HasSpace, s.N)
	b.Frames, b.Labels, b.Index = grown(b.Frames, s.N), grown(b.Labels, s.N), grown(b.Index, s.N)
	b.Names, b.Span = grown(b.Names, s.N), grown(b.Span, s.N)
}

func grown[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n)
	}
	return s[:n]
}
