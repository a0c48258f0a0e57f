package task

import (
	"math"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/trainertest"
)

// TestFitCodecMeasuresTheClips compares the amplitude of the mean of grey patches, which is √3·4/(.33·4) times the mean
// less the background, and the first weights that follow, with the clips.
func TestFitCodecMeasuresTheClips(t *testing.T) {
	c, err := config.Parse("test", []byte(trainertest.Mini))
	trainertest.Check(t, err)
	c.Model.Layers, c.Model.LatentNorm, c.Model.PatchTransform, c.Model.InitialWeights = []model.Layer{{Name: model.Residual}}, "none", "cosine", "codec-fitted"
	c.Model.InputKernel = model.Kernel{1, 1, 1}
	c.Data.Frames, c.Data.Height, c.Data.Width, c.Data.Channels = 4, 16, 16, 3
	tok, err := model.New(c.Model)
	trainertest.Check(t, err)
	src := trainertest.Squares{Clips: 6, Frames: 4, Side: 16}
	be := kernels.NewCPU(1)
	defer be.Close()
	train := []int{0, 1, 2, 3, 5}
	trainertest.Check(t, FitCodec(t.Context(), be, tok, src, train, c))
	if len(tok.Amplitudes) != 48 {
		t.Fatalf("%d amplitudes, want those of 48 channels", len(tok.Amplitudes))
	}
	squares, count := 0., 0
	for _, i := range train {
		clip, err := src.Read(t.Context(), i)
		trainertest.Check(t, err)
		means := make([]float64, 4*4*4)
		for k, v := range clip.Video {
			f, y, x := k/(16*16*3), k/(16*3)%16, k/3%16
			means[f*16+y/4*4+x/4] += (float64(v) - 1) / 48
		}
		for _, m := range means {
			squares += m * m
			count++
		}
	}
	want := math.Sqrt(3) * 4 / (.33 * 4) * math.Sqrt(squares/float64(count))
	if got := tok.Amplitudes[0]; math.Abs(got-want) > 1e-4*want {
		t.Errorf("amplitude of the mean is %v, want %v", got, want)
	}
	if tok.Amplitudes[20] > 1e-5 {
		t.Errorf("amplitude %v of colour in grey clips", tok.Amplitudes[20])
	}
	for i, p := range tok.Params {
		if p.Name != "conv_in.conv.weight" {
			continue
		}
		w := make([]float32, p.Len())
		tok.Init(1, i, w)
		if got := float64(w[0]); math.Abs(got-1/want) > 1e-3/want { // the mean changes the picture most
			t.Errorf("first weight of the mean is %v, want %v", got, 1/want)
		}
	}
	c.Model.InitialWeights = "codec"
	tok, err = model.New(c.Model)
	trainertest.Check(t, err)
	if err := FitCodec(t.Context(), be, tok, src, train, c); err != nil || tok.Amplitudes != nil {
		t.Errorf("weights that depend on no clip: %v, amplitudes %v", err, tok.Amplitudes)
	}
}
