package model

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// vqGolden is testdata/golden_vq/vq.json, values of vector-quantize-pytorch.
type vqGolden struct {
	Versions map[string]string `json:"versions"`
	VQ       []struct {
		Name      string    `json:"name"`
		Tokens    int       `json:"tokens"`
		Books     int       `json:"books"`
		Codes     int       `json:"codes"`
		Dim       int       `json:"dim"`
		Decay     float64   `json:"decay"`
		Eps       float64   `json:"eps"`
		Spherical bool      `json:"spherical"`
		Dead      float64   `json:"dead"`
		Embed     []float32 `json:"embed"`
		Count     float64   `json:"count"`
		Steps     []struct {
			Z, Cotangent, Idx, Q, Grad, Picks, Embed []float32
			Commitment                               float64   `json:"commitment"`
			GradCommitment                           []float32 `json:"grad_commitment"`
			ClusterSize                              []float32 `json:"cluster_size"`
			EmbedAvg                                 []float32 `json:"embed_avg"`
		} `json:"steps"`
	} `json:"vq"`
	BSQ []struct {
		Name            string  `json:"name"`
		Tokens          int     `json:"tokens"`
		Bits            int     `json:"bits"`
		InvTemperature  float64 `json:"inv_temperature"`
		X, Cotangent    []float32
		Idx, Q          []float32
		SampleEntropy   float64   `json:"sample_entropy"`
		CodebookEntropy float64   `json:"codebook_entropy"`
		Joint           float64   `json:"joint_sample_entropy"`
		Commitment      float64   `json:"commitment"`
		Grad            []float32 `json:"grad"`
		GradSample      []float32 `json:"grad_sample_entropy"`
		GradCodebook    []float32 `json:"grad_codebook_entropy"`
		GradCommitment  []float32 `json:"grad_commitment"`
	} `json:"bsq"`
}

func readVQGolden(t *testing.T) (g vqGolden) {
	t.Helper()
	text, err := os.ReadFile("../testdata/golden_vq/vq.json")
	check(t, err)
	check(t, json.Unmarshal(text, &g))
	return g
}

// sameAs holds values to the package's. Both are float32 with some 10 roundings each.
func sameAs(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= 2e-6+2e-6*math.Abs(float64(w))) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], w)
		}
	}
}

// alone is a quantizer without a network around it.
type alone struct {
	*golden
	b   *builder
	out quantized
	x   *G.Node // latents
	dy  *G.Node // gradient of the values
	in  feed
}

func quantizerAlone(t *testing.T, q Quantizer, tokens int, z, cotangent []float32, buffers map[string][]float32) alone {
	t.Helper()
	c := Defaults()
	c.Quantizer = q
	c.InitDim, c.Layers = quantizerOf(t, c).dims(), nil
	b := newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{})
	b.declare = true
	x, dy := b.input("x", 1, tokens, 1, 1, c.InitDim), b.input("cotangent", 1, tokens, 1, 1, c.InitDim)
	a := alone{&golden{t: t, be: cpu(t)}, b, b.quantize(x), x, dy, feed{x: z, dy: cotangent}}
	check(t, b.err)
	for i, p := range b.t.Params {
		a.in[b.params[i]] = buffers[p.Name]
	}
	for _, k := range b.graph.constants {
		a.in[k.node] = k.values
	}
	return a
}

// slopes are the gradients with respect to the latents of the values, in the direction of
// the cotangent, and of the terms. Each needs a graph of its own.
func slopes(t *testing.T, q Quantizer, tokens int, z, cotangent []float32, buffers map[string][]float32) map[string][]float32 {
	t.Helper()
	found := map[string][]float32{}
	for i := -1; ; i++ {
		a := quantizerAlone(t, q, tokens, z, cotangent, buffers)
		if i == len(a.out.terms) {
			return found
		}
		var ds G.Nodes
		var err error
		name := "values"
		if i < 0 {
			ds, err = G.Backpropagate(G.Nodes{a.out.values}, G.Nodes{a.dy}, G.Nodes{a.x})
		} else {
			name = a.out.terms[i].Name
			ds, err = G.Grad(a.out.terms[i].Node, a.x)
		}
		check(t, err)
		found[name] = a.run(a.in, ds[0])[0]
	}
}

// hold compares codes, values, gradients and the terms with the package's.
func hold(t *testing.T, a alone, slopes map[string][]float32, codes, values, grad []float32, terms map[string]goldenTerm) {
	t.Helper()
	run := a.run(a.in, a.out.values, a.out.codes)
	sameAs(t, "codes", run[1], codes)
	sameAs(t, "values", run[0], values)
	sameAs(t, "gradient", slopes["values"], grad)
	for _, term := range a.out.terms {
		if want, ok := terms[term.Name]; ok {
			sameAs(t, term.Name, a.run(a.in, term.Node)[0], []float32{float32(want.value)})
			sameAs(t, "gradient of "+term.Name, slopes[term.Name], want.grad)
		} else if !term.Derived {
			t.Errorf("the package has no %s", term.Name)
		}
	}
}

type goldenTerm struct {
	value float64
	grad  []float32
}

// Codes, values, commitment, straight-through gradients and the codebook after each step
// are the package's: exponential moving averages, Laplace smoothing, dead codes.
func TestGoldenVQ(t *testing.T) {
	golden := readVQGolden(t)
	if len(golden.VQ) < 5 {
		t.Fatalf("%d cases", len(golden.VQ))
	}
	for _, c := range golden.VQ {
		t.Run(c.Name, func(t *testing.T) {
			be := cpu(t)
			q := Quantizer{Kind: "vq", Codebooks: c.Books, CodebookSize: c.Codes, CodeDim: c.Dim, Spherical: c.Spherical, CommitmentWeight: 1, AuxWeight: 1, Decay: c.Decay, DeadThreshold: c.Dead}
			codebook, average := slices.Clone(c.Embed), averageOf(c.Embed, slices.Repeat([]float32{float32(c.Count)}, c.Books*c.Codes), c.Dim)
			for i := range c.Books * c.Codes {
				for k := range c.Dim {
					average[i*(c.Dim+1)+k] *= float32(c.Count)
				}
			}
			for _, s := range c.Steps {
				buffers := map[string][]float32{codebookBuffer: codebook, vqAverage: average}
				a := quantizerAlone(t, q, c.Tokens, s.Z, s.Cotangent, buffers)
				hold(t, a, slopes(t, q, c.Tokens, s.Z, s.Cotangent, buffers), s.Idx, s.Q, s.Grad, map[string]goldenTerm{"commitment": {s.Commitment, s.GradCommitment}})

				for _, picks := range a.b.graph.scheduled {
					if a.in[picks.node] = s.Picks; s.Picks == nil {
						a.in[picks.node] = slices.Repeat([]float32{-1}, c.Books*c.Codes)
					}
				}
				if len(a.b.t.update) != 1 || a.b.t.update[0].Spec.(kernels.VQUpdate).Eps != float32(c.Eps) {
					t.Fatalf("updates %v", a.b.t.update)
				}
				var statistics []*G.Node
				for _, i := range a.b.t.update[0].Buffers {
					statistics = append(statistics, a.b.graph.statistics[i])
				}
				sums := a.run(a.in, statistics...)
				k, err := be.Prepare(a.b.t.update[0].Spec)
				check(t, err)
				k.Run(kernels.Host(codebook), kernels.Host(average), kernels.Host(sums[0]), kernels.Host(sums[1]), kernels.Host{0})
				sameAs(t, "codebook", codebook, s.Embed)
				sameAs(t, "averages", average, averageOf(s.EmbedAvg, s.ClusterSize, c.Dim))
			}
		})
	}
}

// averageOf joins the package's averages of sums and numbers.
func averageOf(sums, counts []float32, dim int) (joined []float32) {
	for i, n := range counts {
		joined = append(append(joined, sums[i*dim:][:dim]...), n)
	}
	return joined
}
