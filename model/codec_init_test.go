package model

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
)

// asCodec is a network that begins as a transform codec, with a dimension for each of the 24 coefficients of a patch.
func asCodec() Config {
	c := small()
	c.Patch, c.PatchTime, c.PatchTransform, c.Background = 2, 2, cosines, .4
	c.InputKernel, c.OutputKernel, c.InitDim = Kernel{2, 3, 3}, Kernel{2, 3, 3}, 30
	c.Layers = []Layer{{Name: Residual, Kernel: Kernel{2, 3, 3}}, {Name: ConsecutiveResidual, N: 2}}
	c.LatentNorm, c.InitialWeights = "none", codecInit
	c.Quantizer.Codebooks, c.Quantizer.Levels = 12, []int{63, 255}
	return c
}

// TestSpectrumOfASmallPatch has the order by hand: of patches of 2x2 pixels of 2 frames, frequency r in one direction
// scales an amplitude by (1+4)^-1.5, a change in time by 1/5, and all but the mean have a half, or a fifth in colour.
func TestSpectrumOfASmallPatch(t *testing.T) {
	c := asCodec()
	all := c.spectrum()
	if len(all) != 24 {
		t.Fatalf("%d coefficients, want 24", len(all))
	}
	a := 2 * math.Sqrt2 // of a mean over 8 pixels
	for i, want := range []coefficient{
		{0, .33 * a, 1},                              // luminance: mean
		{8, .1 * a, 1},                               // first colour difference: mean
		{16, .055 * a, 1},                            // second one
		{1, .33 * a / 5 / 2, 1. / 2},                 // luminance: change in time
		{2, .33 * a * math.Pow(5, -1.5) / 2, 1. / 2}, // luminance: columns
		{4, .33 * a * math.Pow(5, -1.5) / 2, 1. / 2}, // rows
	} {
		got := all[i]
		if got.channel != want.channel || math.Abs(got.amplitude-want.amplitude) > 1e-9 || got.scaled != want.scaled {
			t.Errorf("coefficient %d is %+v, want %+v", i, got, want)
		}
	}
	c.Channels = 1
	if got := c.spectrum(); len(got) != 8 || got[1].scaled != 1./2 {
		t.Errorf("grey: %d coefficients, the second %+v", len(got), got[1])
	}
}

// TestNetworkBeginsAsCodec encodes with the first weights: the clip comes back up to the rounding of coefficients, and
// codebooks with fewer levels hold the coefficients that change the picture less.
func TestNetworkBeginsAsCodec(t *testing.T) {
	c := asCodec()
	fine := reconstructionError(t, c)
	if fine > .025 { // the decoder takes tanh for a line
		t.Errorf("root of the mean squared error %v with 63 and 255 levels, want at most .025", fine)
	}
	c.Quantizer.Levels = []int{3, 5}
	coarse := reconstructionError(t, c)
	if coarse < 2*fine || coarse > .15 {
		t.Errorf("root of the mean squared error %v with 3 and 5 levels, %v with 63 and 255", coarse, fine)
	}
	c.InitialWeights = "random"
	if random := reconstructionError(t, c); random < 2*fine || random < coarse {
		t.Errorf("root of the mean squared error %v of random weights, %v and %v of codecs", random, coarse, fine)
	}
}

// reconstructionError is the root of the mean squared error of smooth clips before the first step.
func reconstructionError(t *testing.T, c Config) float64 {
	t.Helper()
	tok, be := create(t, c), cpu(t)
	s := Shape{2, 4, 8, 8}
	g, err := tok.Training(s)
	check(t, err)
	values, offsets := parameters(tok, 3)
	p, err := g.Compile(be, values, make(kernels.Host, len(values)), offsets)
	check(t, err)
	video := make([]float32, p.Buffer("video").Len())
	for i := range video {
		ch, x, y, f, n := i%3, i/3%8, i/24%8, i/192%4, i/768
		video[i] = float32(.45 + .2*math.Sin(float64(x+y*n)/3+float64(f)/4) + .1*math.Cos(float64(y)/2+float64(ch)))
	}
	check(t, be.Write(p.Buffer("video"), video))
	check(t, p.Run())
	sum := 0.
	for i, v := range p.Buffer("recon").(kernels.Host) {
		sum += float64(v-video[i]) * float64(v-video[i])
	}
	return math.Sqrt(sum / float64(len(video)))
}

func TestCodecWeightsSayWhatTheyNeed(t *testing.T) {
	if err := asCodec().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		`"half": want random, codec`:  func(c *Config) { c.InitialWeights = "half" },
		"patch_transform: none":       func(c *Config) { c.PatchTransform = "none" },
		"latent_norm: layer":          func(c *Config) { c.LatentNorm = "layer" },
		"layer compress_space":        func(c *Config) { c.Layers = append(c.Layers, Layer{Name: CompressSpace}) },
		"first_frame: true":           func(c *Config) { c.FirstFrame = true },
		"quantizer.kind: lfq: want f": func(c *Config) { c.Quantizer = withLFQ(64).Quantizer },
	} {
		c := asCodec()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}
