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
	all := c.spectrum(nil)
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
	scaled := make([]float64, 24)
	for i := range scaled {
		scaled[i] = 1
	}
	scaled[4] = 1000
	if got := c.spectrum(scaled)[0]; got.channel != 4 || got.scaled != 1000 {
		t.Errorf("of measured amplitudes the first coefficient is %+v, want channel 4", got)
	}
	c.Channels = 1
	if got := c.spectrum(nil); len(got) != 8 || got[1].scaled != 1./2 {
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
	video, recon := beforeTraining(t, c, Shape{2, 4, 8, 8}, func(n, f, y, x, ch int) float64 {
		return .45 + .2*math.Sin(float64(x+y*n)/3+float64(f)/4) + .1*math.Cos(float64(y)/2+float64(ch))
	})
	sum := 0.
	for i, v := range recon {
		sum += float64(v-video[i]) * float64(v-video[i])
	}
	return math.Sqrt(sum / float64(len(video)))
}

// beforeTraining is a batch of clips and what a network with its first weights makes of it.
func beforeTraining(t *testing.T, c Config, s Shape, value func(n, f, y, x, ch int) float64) (video, recon []float32) {
	t.Helper()
	tok, be := create(t, c), cpu(t)
	g, err := tok.Training(s)
	check(t, err)
	values, offsets := parameters(tok, 3)
	p, err := g.Compile(be, values, make(kernels.Host, len(values)), offsets)
	check(t, err)
	video = make([]float32, p.Buffer("video").Len())
	for i := range video {
		at := i / c.Channels
		video[i] = float32(value(at/(s.W*s.H*s.T), at/(s.W*s.H)%s.T, at/s.W%s.H, at%s.W, i%c.Channels))
	}
	check(t, be.Write(p.Buffer("video"), video))
	check(t, p.Run())
	return video, p.Buffer("recon").(kernels.Host)
}

func TestCodecWeightsSayWhatTheyNeed(t *testing.T) {
	if err := asCodec().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		`"half": want random, inflated, codec, codec-fitted`: func(c *Config) { c.InitialWeights = "half" },
		"patch_transform: none":                              func(c *Config) { c.PatchTransform = "none" },
		"latent_norm: layer":                                 func(c *Config) { c.LatentNorm = "layer" },
		"layer compress_space":                               func(c *Config) { c.Layers = append(c.Layers, Layer{Name: CompressSpace}) },
		"first_frame: true":                                  func(c *Config) { c.FirstFrame = true },
		"quantizer.kind: lfq: want f":                        func(c *Config) { c.Quantizer = withLFQ(64).Quantizer },
	} {
		c := asCodec()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}

// seams is how much reconstructed frames, and columns, differ where a patch of 8 begins, over how much they differ elsewhere,
// both relative to the clips. These are waves of many lengths that move slowly, amplitudes proportional to the length.
func seams(t *testing.T, c Config) (inTime, inSpace float64) {
	t.Helper()
	s := Shape{1, 24, 32, 32}
	video, recon := beforeTraining(t, c, s, func(n, f, y, x, ch int) float64 {
		v := .45
		for k := range 24 {
			angle, frequency := 2.4*float64(k+7*n), .15*math.Pow(1.15, float64(k))
			along := float64(x)*math.Cos(angle) + float64(y)*math.Sin(angle)
			v += .02 / frequency * math.Sin(frequency*(along+.3*float64(f))+float64(k*k)) * (1 - .2*float64(ch))
		}
		return v
	})
	changes := func(v []float32, stride, along int) (border, elsewhere float64) {
		for i := range v {
			at := i / stride % along
			if at == 0 {
				continue
			}
			d := math.Abs(float64(v[i] - v[i-stride]))
			if at%8 == 0 {
				border += d
			} else {
				elsewhere += d
			}
		}
		return
	}
	ratio := func(stride, along int) float64 {
		b, e := changes(recon, stride, along)
		wantB, wantE := changes(video, stride, along)
		return b / wantB / (e / wantE)
	}
	return ratio(s.H*s.W*c.Channels, s.T), ratio(c.Channels, s.W)
}

// TestLappedPatchesHaveNoSeams encodes a clip with slow motion before the first step, with coarse levels: where a patch
// begins in time, frames of cosine patches change several times as much as elsewhere, those of lapped ones as they do
// elsewhere. Columns at the borders of patches are alike.
func TestLappedPatchesHaveNoSeams(t *testing.T) {
	c := asCodec()
	c.Patch, c.PatchTime, c.InitDim = 8, 8, 96
	c.InputKernel, c.OutputKernel = point, point
	c.Quantizer.Codebooks, c.Quantizer.Levels = 8, []int{15, 5, 5}
	var inTime, inSpace [2]float64
	for i, transform := range []string{cosines, lapped} {
		c.PatchTransform = transform
		inTime[i], inSpace[i] = seams(t, c)
	}
	t.Logf("ratio of changes at borders to those elsewhere, over that of the clip: time %.2f, columns %.2f (cosine, lapped)", inTime, inSpace)
	if inTime[0] < 2 || inTime[1] > 1.5 {
		t.Errorf("changes where a patch begins, over those elsewhere: cosine %.2f, lapped %.2f; want above 2 and below 1.5", inTime[0], inTime[1])
	}
	if inSpace[0] < 1.5 || inSpace[1] > 1.25 {
		t.Errorf("gradients where a patch begins, over those elsewhere: cosine %.2f, lapped %.2f; want above 1.5 and below 1.25", inSpace[0], inSpace[1])
	}
}
