package data

// decoded is a clip, or some frames of one, as a Source has it: the pixels are bytes or floats, in memory
// of the Source or of the reader that asked for them, and are only read.
//
// Why bytes: most clips are films and pictures, of which floats take four times the memory. A sampler makes
// floats of the lines that it needs.
type decoded struct {
	Clip         // Video is nil where the pixels are bytes
	bytes []byte // [T,H,W,C], v is the value v/255; nil where they are floats
}

// line is line y of frame k [W,C], in dst where the pixels are bytes.
func (d *decoded) line(dst []float32, k, y int) []float32 {
	n := d.W * d.C
	from := (k*d.H + y) * n
	if d.bytes == nil {
		return d.Video[from : from+n]
	}
	bytesToFloat(dst, d.bytes[from:from+n])
	return dst[:n]
}

// clip is the clip with floats in memory of the caller: in video where its capacity suffices.
func (d *decoded) clip(video []float32) Clip {
	n := len(d.bytes) + len(d.Video)
	video = grown(video, n)
	if d.bytes != nil {
		bytesToFloat(video, d.bytes)
	} else if n > 0 && &video[0] != &d.Video[0] {
		copy(video, d.Video)
	}
	c := d.Clip
	c.Video = video
	return c
}

// background is Background of the frames.
func (d *decoded) background(bg []float32) {
	if d.bytes == nil {
		Background(bg, d.Video)
		return
	}
	for k := range bg {
		var count [256]int
		for i := k; i < len(d.bytes); i += len(bg) {
			count[d.bytes[i]]++
		}
		bg[k] = median(&count)
	}
}

// cut is the clip that consists of some of its frames, in its memory if they are
// consecutive.
func (d decoded) cut(frames []int) decoded {
	size := d.H * d.W * d.C
	d.bytes, d.Video = gather(d.bytes, frames, size), gather(d.Video, frames, size)
	d.Points, d.Trajectory = gather(d.Points, frames, 2), gather(d.Trajectory, frames, 3)
	d.T = len(frames)
	return d
}

// gather is some of the blocks of size values that x consists of, in x if they are consecutive. nil stays nil.
func gather[V any](x []V, at []int, size int) []V {
	if x == nil {
		return nil
	}
	if first, n := at[0], len(at); at[n-1]-first == n-1 {
		return x[first*size : (first+n)*size]
	}
	to := make([]V, len(at)*size)
	for j, k := range at {
		copy(to[j*size:(j+1)*size], x[k*size:])
	}
	return to
}

// memory is what a reader lends a Source for the pixels of a clip. They are valid until it is lent again.
// nil is fresh memory for each clip.
type memory struct {
	floats []float32
	bytes  []byte
}

func (m *memory) forFloats(n int) []float32 {
	if m == nil {
		return make([]float32, n)
	}
	m.floats = grown(m.floats, n)
	return m.floats
}

func (m *memory) forBytes(n int) []byte {
	if m == nil {
		return make([]byte, n)
	}
	m.bytes = grown(m.bytes, n)
	return m.bytes
}
