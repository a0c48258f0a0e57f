package data

import "context"

// Rate is the frame rate of clip i in frames per second, by the times of its first and last frame. It is 0 where the file
// has no times, as arrays and folders of images have none.
func Rate(ctx context.Context, src Source, i int) (float64, error) {
	if r, ok := src.(rated); ok {
		return r.rate(ctx, i)
	}
	return 0, nil
}

// rated is a Source of files that have frame rates.
type rated interface {
	rate(ctx context.Context, i int) (float64, error)
}

func (j *joined) rate(ctx context.Context, i int) (float64, error) {
	p, k := j.at(i)
	return Rate(ctx, j.parts[p], k)
}

func (f *files) rate(ctx context.Context, i int) (float64, error) {
	if !isFilm(f.kind(i)) {
		if p, err := f.pixels(ctx, i, maxPixels); err != nil || p.times == nil {
			return 0, err
		}
	}
	n, times, ok, err := f.length(ctx, i)
	if err != nil || !ok || n < 2 || times(n-1) <= times(0) {
		return 0, err
	}
	return float64(n-1) / (times(n-1) - times(0)), nil
}
