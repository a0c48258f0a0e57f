package data

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Info summarises a Source, for `magvit inspect`.
type Info struct {
	Clips      int            `json:"clips"`
	Read       int            `json:"read"`               // clips decoded for the figures below
	Windowed   int            `json:"windowed,omitempty"` // of these, films of which a few frames were decoded
	Unread     int            `json:"unread,omitempty"`   // clips that could not be read, of those that were tried
	Shapes     []ShapeInfo    `json:"shapes"`             // most frequent first
	Min        float32        `json:"min"`
	Max        float32        `json:"max"`
	Mean       float64        `json:"mean"`
	Classes    []string       `json:"classes,omitempty"`
	PerClass   []int          `json:"per_class,omitempty"` // clips of each class
	Unlabelled int            `json:"unlabelled"`
	Parts      map[string]int `json:"parts,omitempty"` // clips that the data assign to train, val and test
	Problems   []string       `json:"problems,omitempty"`
}

// ShapeInfo counts the clips of a shape.
type ShapeInfo struct {
	Frames   int `json:"frames"`
	Height   int `json:"height"`
	Width    int `json:"width"`
	Channels int `json:"channels"`
	Clips    int `json:"clips"`
}

// inspected is the number of frames that are decoded of a film.
const inspected = 4

// Inspect decodes up to limit clips, evenly spread (0: all), and summarises them.
// An unreadable clip becomes a line of Problems.
func Inspect(ctx context.Context, src Source, limit int) (Info, error) {
	n := src.Len()
	info := Info{Clips: n, Classes: src.Classes(), PerClass: make([]int, len(src.Classes()))}
	for i := range n {
		if l := src.Label(i); l >= 0 {
			info.PerClass[l]++
		} else {
			info.Unlabelled++
		}
		if p := Part(src, i); p != "" {
			if info.Parts == nil {
				info.Parts = map[string]int{}
			}
			info.Parts[p]++
		}
	}
	if limit <= 0 || limit > n {
		limit = n
	}
	var sum, values float64
	var unread []string
	var mem memory
	var video []float32
	for k := range limit {
		frames := 0 // of a film that is not read whole
		part, whole, err := readPart(ctx, src, k*n/limit, request{choose: func(n int, _ func(int) float64) ([]int, fit) {
			frames = n
			return windowing{frames: inspected, stride: 1}.pick(nil, n, max(n-inspected, 0)/2, nil), fit{}
		}}, nil, &mem)
		if bad := (*ClipError)(nil); errors.As(err, &bad) {
			unread = append(unread, err.Error())
			continue
		} else if err != nil {
			return info, err
		}
		c := part.clip(video)
		video = c.Video
		if whole {
			frames = c.T
		} else {
			info.Windowed++
		}
		info.add(ShapeInfo{frames, c.H, c.W, c.C, 1})
		if info.Read == 0 {
			info.Min, info.Max = c.Video[0], c.Video[0]
		}
		info.Read++
		for _, v := range c.Video {
			info.Min, info.Max = min(info.Min, v), max(info.Max, v)
			sum += float64(v)
		}
		values += float64(len(c.Video))
	}
	info.Mean, info.Unread = sum/max(values, 1), len(unread)
	info.Problems = append(slices.Clone(src.Problems()), unread...) // reading finds problems too
	slices.SortStableFunc(info.Shapes, func(a, b ShapeInfo) int { return b.Clips - a.Clips })
	if info.Read > 0 && info.Max <= 2./255 {
		info.Problems = append(info.Problems, fmt.Sprintf("the largest value is %.4f: nearly black; uint8 runs from 0 to 255", info.Max))
	}
	if len(info.Shapes) > 1 {
		info.Problems = append(info.Problems, fmt.Sprintf("clips of %d different shapes: they are scaled and cut to one, and shorter ones repeat their last frame", len(info.Shapes)))
	}
	return info, nil
}

func (info *Info) add(s ShapeInfo) {
	for i, t := range info.Shapes {
		if t.Clips = 1; t == s {
			info.Shapes[i].Clips++
			return
		}
	}
	info.Shapes = append(info.Shapes, s)
}
