package data

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// reference reports whether other frames are predicted from a sample. One that cannot be parsed is taken as such.
func (f *mp4Film) reference(i int) bool {
	at, end := f.offset[i], f.offset[i]+int64(f.size[i])
	for units := 0; at < end && units < 64; units++ {
		var head [5]byte
		h := head[:f.nalLength+1]
		if _, err := f.file.ReadAt(h, at); err != nil {
			return true
		}
		length := int64(0)
		for _, b := range h[:f.nalLength] {
			length = length<<8 | int64(b)
		}
		if unit := h[f.nalLength]; unit&31 >= 1 && unit&31 <= 5 { // a slice
			return unit>>5&3 != 0
		}
		at += int64(f.nalLength) + length
	}
	return true
}

// shorten returns a film of the samples that frames first to last need, both in the order in which
// they are shown: the key frame before them, what is predicted from, and the frames themselves. at is
// where they are in it.
//
// Why: frames that none is predicted from are left out before the window, which a decoder is not
// otherwise told; they are half of the frames of most films. And of a film of hours, ffmpeg reads seconds.
func (f *mp4Film) shorten(first, last int) (film io.Reader, at seek, err error) {
	start := 0
	low := f.pts[f.shown[first]]
	for i, p := range f.pts {
		if p <= low && f.isKey(i) {
			start = i
		}
		if p == low {
			break
		}
	}
	stop := 0
	for _, i := range f.shown[first : last+1] {
		stop = max(stop, int(i))
	}
	high := f.pts[f.shown[last]]
	var chosen []int
	total := int64(0)
	for i := start; i <= stop; i++ {
		// Frames shown before the key frame belong to the group before it.
		if f.pts[i] < f.pts[start] || (f.pts[i] < low || f.pts[i] > high) && !f.reference(i) {
			continue
		}
		chosen = append(chosen, i)
		total += int64(f.size[i])
	}
	if total > math.MaxInt32 {
		return nil, at, errNotShortened
	}
	// Seconds after the key frame, between a frame and the next one.
	between := func(a, b int64) float64 { return (float64(a+b)/2 - float64(f.pts[start])) / f.timescale }
	if first > 0 && int(f.shown[first]) != start {
		at.from = between(f.pts[f.shown[first-1]], low)
		at.lead = at.from // it begins with what is needed: nothing is sought
	}
	// Without an end a frame that the decoder drops would be replaced by one after the window.
	if last+1 < len(f.shown) {
		at.to = between(high, f.pts[f.shown[last+1]])
	}
	return io.MultiReader(f.header(chosen, total), f.samplesOf(chosen)), at, nil
}

// sampleReader reads samples, one after the other. It does not refer to the mp4Film, whose memory is used for other films meanwhile.
type sampleReader struct {
	file io.ReaderAt
	left []sample
	done int64 // bytes of the first one that were read
}

type sample struct{ offset, size int64 }

func (f *mp4Film) samplesOf(chosen []int) *sampleReader {
	r := &sampleReader{file: f.file}
	for _, i := range chosen {
		r.left = append(r.left, sample{f.offset[i], int64(f.size[i])})
	}
	return r
}

func (r *sampleReader) Read(p []byte) (int, error) {
	for len(r.left) > 0 && r.done == r.left[0].size {
		r.left, r.done = r.left[1:], 0
	}
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	s := r.left[0]
	n := min(int64(len(p)), s.size-r.done)
	got, err := r.file.ReadAt(p[:n], s.offset+r.done)
	r.done += int64(got)
	if int64(got) == n {
		return got, nil
	}
	return got, fmt.Errorf("the film was cut off while it was read: %w", errors.Join(err, io.ErrUnexpectedEOF))
}
