package task

import (
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// tinyPrior has the first weights of a network of 2×2×2 codes of 6 in two classes, and a
// head that is not zero.
func tinyPrior(t *testing.T, kind string) *Prior {
	t.Helper()
	be := kernels.NewCPU(1)
	t.Cleanup(func() { be.Close() })
	return tinyPriorOf(t, kind, 2, be)
}

// tinyPriorOf has a number of frames, and runs on a backend.
func tinyPriorOf(t *testing.T, kind string, frames int, be kernels.Backend) *Prior {
	t.Helper()
	c := config.Defaults()
	c.Model.Channels = 1
	c.Model.Prior = model.Prior{Kind: kind, Grid: []int{frames, 2, 2}, Digits: []int{3, 2}, Classes: 2, Width: 16, Blocks: 2, Heads: 2, GivenFrames: .5, ClassDropout: .5}
	net, err := model.NewTransformer(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	p := newPrior(be, net, Trained{Config: c}, nil)
	size := 0
	for i, param := range net.Declared() {
		size = p.offsets[i] + param.Len()
	}
	values := make([]float32, size)
	for i, param := range net.Declared() {
		net.Init(1, i, values[p.offsets[i]:][:param.Len()])
		if strings.HasPrefix(param.Name, "head.") {
			for k := range param.Len() {
				values[p.offsets[i]+k] = float32(math.Sin(float64(5 * k)))
			}
		}
	}
	if p.params, err = be.Alloc(size); err != nil {
		t.Fatal(err)
	}
	if err := be.Write(p.params, values); err != nil {
		t.Fatal(err)
	}
	return p
}

// nothing is n clips of which no code is given.
func nothing(n int) []int32 { return slices.Repeat([]int32{model.NoCode}, 8*n) }

// Samples are a function of seed, clip, class and what is given; given codes are kept, and
// every code is one of the codebook.
func TestSamplesAreCounted(t *testing.T) {
	for _, kind := range []string{model.Masked, model.Autoregressive} {
		for _, guidance := range []float64{0, 1.5} {
			p, s := tinyPrior(t, kind), SamplingDefaults()
			s.Seed, s.Steps, s.Guidance = 7, 3, guidance
			given := nothing(3)
			copy(given[8:], []int32{5, 4, 3, 2})
			all, err := p.Sample(t.Context(), given, []int{0, 1, 2}, 0, s)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range all {
				if c < 0 || c > 5 || given[i] != model.NoCode && c != given[i] {
					t.Fatalf("%s: code %d is %d, given %d", kind, i, c, given[i])
				}
			}
			alone, err := p.Sample(t.Context(), given[8:16], []int{1}, 1, s)
			if err != nil || !slices.Equal(alone, all[8:16]) {
				t.Errorf("%s, guidance %v: a clip drawn alone is %v, with others %v (%v)", kind, guidance, alone, all[8:16], err)
			}
			s.Seed++
			other, err := p.Sample(t.Context(), given, []int{0, 1, 2}, 0, s)
			if err != nil || slices.Equal(other, all) {
				t.Errorf("%s: another seed gives the same codes (%v)", kind, err)
			}
		}
	}
}

// At temperature 0 the cached order gives the most likely codes of whole sequences.
func TestCachedSamplesAreThoseOfWholeSequences(t *testing.T) {
	p, s := tinyPrior(t, model.Autoregressive), SamplingDefaults()
	s.Temperature = 0
	got, err := p.Sample(t.Context(), nothing(2), []int{0, 1}, 0, s)
	if err != nil {
		t.Fatal(err)
	}
	want := nothing(2)
	for i := range 8 {
		var e example
		for n, class := range []int{0, 1} {
			e.add(class, want[8*n:][:8])
			e.shift(8)
		}
		logits, err := p.logits(e.tokens, e.classes)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			want[8*n+i], _ = p.draw(scores{logits, logits}, 8*n+i, s, philox.New(0, "", 0, 0))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("cached %v, whole %v", got, want)
	}
}

// counting is a CPU that counts the operations of the kernels that it runs.
type counting struct {
	*kernels.CPU
	attention, others int64
}

type counted struct {
	kernels.Kernel
	flops int64
	total *int64
}

func (c *counting) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	k, err := c.CPU.Prepare(s)
	total := &c.others
	if _, ok := s.(kernels.AttentionStep); ok {
		total = &c.attention
	}
	return counted{k, s.FLOPs(), total}, err
}

func (k counted) Run(args ...kernels.Buffer) {
	*k.total += k.flops
	k.Kernel.Run(args...)
}

// Drawing from the cache computes the network once for each token, whatever their number:
// only attention over the cache, for each token at most over all of them, grows with it.
func TestSamplingIsLinearInTokens(t *testing.T) {
	perToken, perKey := int64(0), int64(0)
	for _, frames := range []int{2, 4, 16} {
		be := &counting{CPU: kernels.NewCPU(1)}
		p, tokens := tinyPriorOf(t, model.Autoregressive, frames, be), int64(4*frames)
		if _, err := p.Sample(t.Context(), slices.Repeat([]int32{model.NoCode}, 4*frames), []int{1}, 0, SamplingDefaults()); err != nil {
			t.Fatal(err)
		}
		be.Close()
		if perToken == 0 {
			perToken, perKey = be.others/tokens, be.attention/(tokens*(tokens+2)) // one key is the memory's, one the token's own
		}
		if be.others != perToken*tokens {
			t.Errorf("%d tokens: %d operations besides attention, want %d for each", tokens, be.others, perToken)
		}
		if be.attention != perKey*tokens*(tokens+2) {
			t.Errorf("%d tokens: attention of %d operations, want %d for each token and key", tokens, be.attention, perKey)
		}
	}
}

// Guidance at which the class alone counts twice moves logits away from those without class.
func TestGuidance(t *testing.T) {
	got := guide([][]float32{{1, 2, 0, 4}}, Sampling{Guidance: 2})
	if !slices.Equal(got.drawn[0], []float32{3, -2}) || !slices.Equal(got.class[0], []float32{1, 2}) {
		t.Errorf("%v", got)
	}
}

// Guidance changes the weights of the values that are likely with the class, and brings no other among them.
func TestGuidanceKeepsToLikelyValues(t *testing.T) {
	with, without := []float32{4, 3.9, -6, -6}, []float32{4, 3, -6, -20} // the last value's difference is the largest
	for _, change := range []func(*Sampling){func(s *Sampling) { s.TopP = .9 }, func(s *Sampling) { s.TopK = 2 }, func(s *Sampling) { s.TopK, s.Temperature = 2, 0 }} {
		s := SamplingDefaults()
		s.Guidance = 3
		change(&s)
		scores, drawn := guide([][]float32{slices.Concat(with, without)}, s), [4]int{}
		for i := range 1000 {
			v, _ := drawDigit(scores.class[0], scores.drawn[0], s, (float64(i)+.5)/1000)
			drawn[v]++
		}
		// Guided logits of the two likely values are 4 and 6.6.
		want := 1000 / (1 + math.Exp(2.6))
		if s.Temperature == 0 {
			want = 0
		}
		if math.Abs(float64(drawn[0])-want) > 1.5 || drawn[0]+drawn[1] != 1000 {
			t.Errorf("%+v: drawn %v times, want the first %.0f times and else the second", s, drawn, want)
		}
	}
}

// Values are drawn by their probabilities, of the most likely ones only where that is wanted.
func TestDrawDigit(t *testing.T) {
	logits := []float32{0, float32(math.Log(5)), float32(math.Log(2)), float32(math.Log(2))} // .1 .5 .2 .2
	for _, c := range []struct {
		change func(*Sampling)
		want   [4]float64
	}{
		{func(*Sampling) {}, [4]float64{.1, .5, .2, .2}},
		{func(s *Sampling) { s.TopK = 2 }, [4]float64{0, 5. / 7, 2. / 7, 0}},
		{func(s *Sampling) { s.TopP = .6 }, [4]float64{0, 5. / 7, 2. / 7, 0}},
		{func(s *Sampling) { s.Temperature = .5 }, [4]float64{1. / 34, 25. / 34, 4. / 34, 4. / 34}},
		{func(s *Sampling) { s.Temperature = 0 }, [4]float64{0, 1, 0, 0}},
	} {
		s := SamplingDefaults()
		c.change(&s)
		var got [4]float64
		for i := range 10000 {
			v, logp := drawDigit(logits, logits, s, (float64(i)+.5)/10000)
			got[v] += 1. / 10000
			if s.Temperature == 1 && math.Abs(math.Exp(logp)-[4]float64{.1, .5, .2, .2}[v]) > 1e-6 {
				t.Fatalf("the probability of %d is %v", v, math.Exp(logp))
			}
		}
		for v := range got {
			if math.Abs(got[v]-c.want[v]) > 2e-4 {
				t.Errorf("%+v: %v, want %v", s, got, c.want)
			}
		}
	}
}

// Training batches mask by MaskGIT's schedule, or hide nothing but what comes next; the same
// batch is the same example.
func TestExamples(t *testing.T) {
	p := tinyPrior(t, model.Masked)
	b := &data.Batch{N: 400, T: 2, H: 2, W: 2, C: 1}
	for i := range 8 * b.N {
		b.Video = append(b.Video, float32(i%6))
	}
	for n := range b.N {
		b.Labels = append(b.Labels, n%3-1)
	}
	e := p.examples(b, whole(b.Video))
	masked, frame, none := 0, 0, 0
	for n := range b.N {
		first, hidden := 0, 0
		for i := range 8 {
			at := 8*n + i
			switch code := int32(b.Video[at]); {
			case e.targets[at] == code && e.tokens[at] == model.NoCode:
				hidden++
				if i < 4 {
					first++
				}
			case e.targets[at] != model.NoCode || e.tokens[at] != code:
				t.Fatalf("code %d: target %d, token %d", code, e.targets[at], e.tokens[at])
			}
		}
		if hidden == 0 {
			t.Fatal("a clip without targets")
		}
		masked += hidden
		if first == 0 {
			frame++
		}
		if class := int(e.classes[8*n]); class == 2 {
			none++
		} else if class != b.Labels[n] {
			t.Fatalf("class %d of label %d", class, b.Labels[n])
		}
	}
	// Half of 8·2/π + 1/2 codes, half of 4·2/π + 1/2 of the second frame; a third and a half of the others have no class.
	if m := float64(masked) / 400; m < 4 || m > 5 || frame < 200 || frame > 300 || none < 230 || none > 300 {
		t.Errorf("%v masked codes a clip, %d clips with a whole first frame, %d without class", m, frame, none)
	}
	if again := p.examples(b, whole(b.Video)); !slices.Equal(again.tokens, e.tokens) || p.Counts(b)["cross_entropy"] != float64(masked) {
		t.Error("an example is not a function of its batch")
	}
	b.Number++
	if again := p.examples(b, whole(b.Video)); slices.Equal(again.tokens, e.tokens) {
		t.Error("the next batch has the same masks")
	}
	e = tinyPrior(t, model.Autoregressive).examples(&data.Batch{N: 1, Labels: []int{0}}, []int32{1, 2, 3, 4, 5, 0, 1, 2})
	if !slices.Equal(e.tokens, []int32{-1, 1, 2, 3, 4, 5, 0, 1}) || !slices.Equal(e.targets, []int32{1, 2, 3, 4, 5, 0, 1, 2}) {
		t.Errorf("%v %v", e.tokens, e.targets)
	}
}

// Bits of the models without a network, by hand.
func TestCodeModel(t *testing.T) {
	m := metrics.NewCodeModel(2, 1)
	m.Add([]int32{0, 1, 0, 1}) // 0 and 1 are as frequent, and follow each other
	unigram, before := m.Bits([]int32{0, 1})
	want := (1 - math.Log2((2+2*.5)/(2+2))) / 2
	if unigram != 1 || math.Abs(before-want) > 1e-12 {
		t.Errorf("unigram %v, want 1; frame before %v, want %v", unigram, before, want)
	}
}

func TestSamplingRefusals(t *testing.T) {
	p := tinyPrior(t, model.Masked)
	for _, c := range []struct {
		change func(*Sampling)
		class  int
		want   string
	}{
		{func(s *Sampling) { s.Steps = 0 }, 0, "steps 0"}, {func(s *Sampling) { s.Temperature = -1 }, 0, "temperature -1"},
		{func(s *Sampling) { s.TopK = -1 }, 0, "top-k -1"}, {func(s *Sampling) { s.TopP = 0 }, 0, "top-p 0"},
		{func(s *Sampling) { s.Guidance = math.NaN() }, 0, "guidance NaN"}, {func(*Sampling) {}, 3, "class 3: want 0 to 1"},
	} {
		s := SamplingDefaults()
		c.change(&s)
		if _, err := p.Sample(t.Context(), nothing(1), []int{c.class}, 0, s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
