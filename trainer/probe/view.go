package probe

// View is a mirrored copy of a clip [T,H,W,C]: bit 0 of v exchanges left and
// right, bit 1 up and down, bit 2 (square frames only) afterwards x and y.
func View(video []float32, t, h, w, c, v int) []float32 {
	out := make([]float32, 0, len(video))
	for f := range t {
		for y := range h {
			for x := range w {
				yy, xx := y, x
				if v&4 != 0 {
					yy, xx = x, y
				}
				if v&1 != 0 {
					xx = w - 1 - xx
				}
				if v&2 != 0 {
					yy = h - 1 - yy
				}
				out = append(out, video[((f*h+yy)*w+xx)*c:][:c]...)
			}
		}
	}
	return out
}
