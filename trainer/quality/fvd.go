package quality

import (
	"fmt"

	"magvit/kernels"
	"magvit/model"
)

// videoFeatures are those of windows of frames of a clip, resized to 224×224 pixels: one after another from the
// first frame on; frames after the last whole window do not count.
type videoFeatures struct {
	frames int                                                   // of a window
	of     func(window []float32, c int, vector []float32) error // features of one
}

func newVideoFeatures(be kernels.Backend, net *model.I3D, frames int) *videoFeatures {
	programs := map[int]*model.Program{} // by channels
	return &videoFeatures{frames, func(window []float32, c int, vector []float32) error {
		p := programs[c]
		if p == nil {
			g, err := net.Graph(1, frames, model.I3DSide, model.I3DSide, c)
			if err != nil {
				return err
			}
			if p, err = g.Compile(be, nil, nil, nil); err != nil {
				return err
			}
			programs[c] = p
		}
		if err := be.Write(p.Buffer("clip"), window); err != nil {
			return err
		}
		if err := p.Run(); err != nil {
			return err
		}
		return be.Read(vector, p.Buffer("features"))
	}}
}

func fvdNote(frames int) string {
	return fmt.Sprintf("features of I3D by the weights that were given, of windows of %d frames", frames)
}

func (m *videoFeatures) each(clip []float32, t, h, w, c int, do func([]float32) error) error {
	if t < m.frames {
		return fmt.Errorf("%d frames: fvd wants at least the %d of a window", t, m.frames)
	}
	window, vector := make([]float32, 0, m.frames*model.I3DSide*model.I3DSide*c), make([]float32, model.I3DFeatures)
	for first := 0; first+m.frames <= t; first += m.frames {
		window = window[:0]
		for f := first; f < first+m.frames; f++ {
			window = append(window, resized(clip[f*h*w*c:][:h*w*c], h, w, c, model.I3DSide, model.I3DSide)...)
		}
		if err := m.of(window, c, vector); err != nil {
			return err
		}
		if err := do(vector); err != nil {
			return err
		}
	}
	return nil
}
