package data

// pose is the transform from the fitted frame to a row of a batch.
type pose struct {
	exchange, mirrorY, mirrorX bool
	sin, cos                   float64
	top, left                  int
}

// apply maps a point of the fitted frame to the row of h by w, the inverse of
// mapPixels. A pixel i covers the coordinates [i,i+1).
func (p pose) apply(x, y float64, h, w int) (float64, float64) {
	dy, dx := y-float64(p.top)-float64(h)/2, x-float64(p.left)-float64(w)/2
	y, x = p.cos*dy+p.sin*dx+float64(h)/2, -p.sin*dy+p.cos*dx+float64(w)/2
	if p.mirrorX {
		x = float64(w) - x
	}
	if p.mirrorY {
		y = float64(h) - y
	}
	if p.exchange {
		x, y = y, x
	}
	return x, y
}

// positions fills row n with the positions of the clip's object; padding frames
// repeat the last position. A row of which one position is unknown has none.
func (s *sampler) positions(b *Batch, n int, clip Clip, by scaling) {
	points, space := b.Points[n*b.T*2:(n+1)*b.T*2], b.Space[n*b.T*3:(n+1)*b.T*3]
	clear(points)
	clear(space)
	b.HasPoints[n] = clip.Points != nil && Known(clip.Points[:2*clip.T])
	b.HasSpace[n] = clip.Trajectory != nil && Known(clip.Trajectory[:3*clip.T])
	for t := range b.T {
		f := min(t, clip.T-1)
		if b.HasPoints[n] {
			x, y := by.point(float64(clip.Points[2*f]), float64(clip.Points[2*f+1]))
			x, y = s.pose.apply(x, y, b.H, b.W)
			points[2*t], points[2*t+1] = float32(x), float32(y)
		}
		if b.HasSpace[n] {
			copy(space[3*t:], clip.Trajectory[3*f:3*f+3])
		}
	}
}

// Known reports whether all positions are known: none is NaN.
func Known(positions []float32) bool {
	for _, v := range positions {
		if v != v {
			return false
		}
	}
	return true
}

// reverse reverses the order of the first `real` frames of row n.
func (b *Batch) reverse(n, real int) {
	pixels := b.H * b.W
	reverseBlocks(b.Video[n*b.T*pixels*b.C:], real, pixels*b.C)
	reverseBlocks(b.Weight[n*b.T*pixels:], real, pixels)
	// Positions of padding frames repeat the last real one.
	for _, p := range []struct {
		all  []float32
		size int
	}{{b.Points, 2}, {b.Space, 3}} {
		row := p.all[n*b.T*p.size : (n+1)*b.T*p.size]
		reverseBlocks(row, real, p.size)
		for t := real; t < b.T; t++ {
			copy(row[t*p.size:], row[(real-1)*p.size:real*p.size])
		}
	}
}

// reverseBlocks reverses the order of n blocks of size values.
func reverseBlocks(x []float32, n, size int) {
	hold := make([]float32, size)
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		a, b := x[i*size:(i+1)*size], x[j*size:(j+1)*size]
		copy(hold, a)
		copy(a, b)
		copy(b, hold)
	}
}
