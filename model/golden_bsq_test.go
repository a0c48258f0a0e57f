package model

import (
	"math"
	"strings"
	"testing"
)

// Codes, values, entropies of single bits, commitment and all gradients are the package's.
func TestGoldenBSQ(t *testing.T) {
	golden := readVQGolden(t)
	if len(golden.BSQ) < 3 {
		t.Fatalf("%d cases", len(golden.BSQ))
	}
	for _, c := range golden.BSQ {
		t.Run(c.Name, func(t *testing.T) {
			q := Quantizer{Kind: "bsq", Codebooks: 1, CodebookSize: 1 << c.Bits, CommitmentWeight: 1, EntropyWeight: 1, DiversityGamma: 1, AuxWeight: 1, InvTemperature: c.InvTemperature}
			a := quantizerAlone(t, q, c.Tokens, c.X, c.Cotangent, nil)
			hold(t, a, slopes(t, q, c.Tokens, c.X, c.Cotangent, nil), c.Idx, c.Q, c.Grad, map[string]goldenTerm{
				"sample_entropy": {c.SampleEntropy, c.GradSample}, "codebook_entropy": {c.CodebookEntropy, c.GradCodebook}, "commitment": {c.Commitment, c.GradCommitment}})
			// The package's joint entropy has a floor of 1e-5 in its logarithm.
			if d := math.Abs(c.SampleEntropy - c.Joint); d > 2e-2*c.Joint+1e-6 {
				t.Errorf("entropy of all codes of a token %g, sum of those of its bits %g", c.Joint, c.SampleEntropy)
			}
		})
	}
}

func TestBSQConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"model.quantizer.levels: [8]: bsq has a codebook_size":               func(c *Config) { c.Quantizer.Levels = []int{8} },
		"model.quantizer.codebook_size: 1000: want a power of two":           func(c *Config) { c.Quantizer.CodebookSize = 1000 },
		"model.quantizer.codebook_size: 33554432: want a power of two, 2 to": func(c *Config) { c.Quantizer.CodebookSize = 1 << 25 },
		"model.quantizer.inv_temperature: 0":                                 func(c *Config) { c.Quantizer.InvTemperature = 0 },
		"the reference has fsq and lfq":                                      func(c *Config) { c.Compat = Lucidrains },
	} {
		c := bsqConfig(1 << 18)
		check(t, c.Validate())
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// bsqConfig is small with binary spherical codes.
func bsqConfig(codes int) Config {
	c := small()
	c.Quantizer.Kind, c.Quantizer.Levels, c.Quantizer.CodebookSize = "bsq", nil, codes
	return c
}
