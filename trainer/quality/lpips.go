package quality

import (
	"fmt"

	"magvit/kernels"
	"magvit/model"
)

// lpipsBatch is the number of frames that are compared together.
const lpipsBatch = 4

// lpips is the mean over frames of LPIPS, see model.LPIPS.
type lpips struct {
	be   kernels.Backend
	net  *model.LPIPS
	prog *model.Program // of the last clip's size alone, so that clips of many sizes need the memory of one
	size [3]int         // its height, width and channels
}

func newLPIPS(be kernels.Backend, net *model.LPIPS) *lpips { return &lpips{be: be, net: net} }

func (*lpips) about() Value {
	return Value{Name: "lpips", Better: "lower", Note: "VGG16, version 0.1, by the weights that were given"}
}

func (m *lpips) program(h, w, c int) (*model.Program, error) {
	size := [3]int{h, w, c}
	if m.prog != nil && m.size == size {
		return m.prog, nil
	}
	m.prog = nil
	g, err := m.net.Graph(lpipsBatch, h, w, c)
	if err != nil {
		return nil, err
	}
	m.prog, err = g.Compile(m.be, nil, nil, nil)
	m.size = size
	return m.prog, err
}

// of compares frames in batches of one size. Distances of images beyond the clip's last frame are not read.
func (m *lpips) of(p Pair) ([]float64, error) {
	prog, err := m.program(p.H, p.W, p.C)
	if err != nil {
		return nil, err
	}
	size := p.H * p.W * p.C
	distance := make([]float32, lpipsBatch)
	sum := 0.
	for t := 0; t < p.T; t += lpipsBatch {
		n := min(lpipsBatch, p.T-t)
		for _, in := range []struct {
			name string
			of   []float32
		}{{"original", p.Original}, {"recon", p.Recon}} {
			if err := m.be.Write(prog.Buffer(in.name), in.of[t*size:][:n*size]); err != nil {
				return nil, err
			}
		}
		if err := prog.Run(); err != nil {
			return nil, err
		}
		if err := m.be.Read(distance, prog.Buffer("distance")); err != nil {
			return nil, err
		}
		for i, d := range distance[:n] {
			if !(d >= 0) {
				return nil, fmt.Errorf("frame %d: LPIPS is %v: the weights are not those of LPIPS", t+i, d)
			}
			sum += float64(d)
		}
	}
	return []float64{sum, float64(p.T)}, nil
}

func (*lpips) statistic(sum []float64) float64 { return sum[0] / sum[1] }
