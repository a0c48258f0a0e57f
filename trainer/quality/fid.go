package quality

import (
	"magvit/kernels"
	"magvit/model"
)

const fidNote = "features of Inception V3 by the weights that were given, of single frames"

// inceptionFeatures are those of frames, resized to 299×299 pixels.
type inceptionFeatures struct {
	be       kernels.Backend
	net      *model.Inception
	programs map[int]*model.Program // by channels
}

func newInceptionFeatures(be kernels.Backend, net *model.Inception) *inceptionFeatures {
	return &inceptionFeatures{be, net, map[int]*model.Program{}}
}

func (m *inceptionFeatures) program(c int) (*model.Program, error) {
	if p := m.programs[c]; p != nil {
		return p, nil
	}
	g, err := m.net.Graph(1, model.InceptionSide, model.InceptionSide, c)
	if err != nil {
		return nil, err
	}
	p, err := g.Compile(m.be, nil, nil, nil)
	if err == nil {
		m.programs[c] = p
	}
	return p, err
}

func (m *inceptionFeatures) each(clip []float32, t, h, w, c int, do func([]float32) error) error {
	p, err := m.program(c)
	if err != nil {
		return err
	}
	vector := make([]float32, model.InceptionFeatures)
	for f := range t {
		image := resized(clip[f*h*w*c:][:h*w*c], h, w, c, model.InceptionSide, model.InceptionSide)
		if err := m.be.Write(p.Buffer("image"), image); err != nil {
			return err
		}
		if err := p.Run(); err != nil {
			return err
		}
		if err := m.be.Read(vector, p.Buffer("features")); err != nil {
			return err
		}
		if err := do(vector); err != nil {
			return err
		}
	}
	return nil
}

// resized is a frame [h,w,c] scaled to oh×ow by bilinear interpolation between the centres of pixels, without a filter
// against aliasing, as torch's interpolate with align_corners=False does.
func resized(x []float32, h, w, c, oh, ow int) []float32 {
	y := make([]float32, oh*ow*c)
	for i := range oh {
		top, below, v := neighbours(i, h, oh)
		for j := range ow {
			left, right, u := neighbours(j, w, ow)
			for k := range c {
				at := func(row, col int) float32 { return x[(row*w+col)*c+k] }
				y[(i*ow+j)*c+k] = (at(top, left)*(1-u)+at(top, right)*u)*(1-v) + (at(below, left)*(1-u)+at(below, right)*u)*v
			}
		}
	}
	return y
}

// neighbours are the positions of n that position i of m lies between, and the weight of the second.
func neighbours(i, n, m int) (first, second int, weight float32) {
	at := max((float64(i)+.5)*float64(n)/float64(m)-.5, 0)
	first = min(int(at), n-1)
	return first, min(first+1, n-1), float32(at - float64(first))
}
