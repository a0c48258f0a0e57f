package model

import (
	"slices"
	"strings"
	"testing"
)

// vqConfig is small with a learned codebook.
func vqConfig(codes int) Config {
	c := small()
	c.Quantizer.Kind, c.Quantizer.Levels = "vq", nil
	c.Quantizer.CodebookSize, c.Quantizer.CodeDim, c.Quantizer.CommitmentWeight = codes, 3, .25
	return c
}

// Each code gets a latent of its own, of any of the step's batches, and in each batch the
// same draw; with fewer latents than codes each latent goes to one code.
func TestPicksOfDeadCodes(t *testing.T) {
	c := vqConfig(6)
	c.Quantizer.Codebooks = 2
	q := vq{c.Quantizer}
	for _, d := range []struct{ tokens, batches int }{{10, 1}, {5, 3}, {2, 2}} {
		seen := make([]map[int]bool, 2) // latents of a book
		for book := range seen {
			seen[book] = map[int]bool{}
		}
		for batch := range d.batches {
			picks := make([]float32, 12)
			q.picks(StepPosition{Seed: 1, Step: 4, Batch: batch, Batches: d.batches}, d.tokens, picks)
			for i, p := range picks {
				if p >= 0 && p < float32(d.tokens) {
					latent := batch*d.tokens + int(p)
					if seen[i/6][latent] {
						t.Errorf("%+v: latent %d of codebook %d is drawn twice", d, latent, i/6)
					}
					seen[i/6][latent] = true
				}
			}
		}
		for book := range seen {
			if want := min(6, d.tokens*d.batches); len(seen[book]) != want {
				t.Errorf("%+v: %d latents are drawn for codebook %d, want %d", d, len(seen[book]), book, want)
			}
		}
	}
	a, b := make([]float32, 12), make([]float32, 12)
	q.picks(StepPosition{Seed: 1, Step: 4, Batches: 1}, 100, a)
	q.picks(StepPosition{Seed: 1, Step: 5, Batches: 1}, 100, b)
	if slices.Equal(a, b) {
		t.Error("two steps draw the same latents")
	}
}

// The codebook is a buffer: no gradient, no weight decay, an update that names it.
func TestCodebookIsABuffer(t *testing.T) {
	tok := create(t, vqConfig(16))
	i, ok := tok.Codebook()
	if !ok || !tok.Params[i].Buffer || tok.Params[i].Decay || !slices.Equal(tok.Params[i].Shape, []int{1, 16, 3}) {
		t.Fatalf("codebook %+v, %v", tok.Params[i], ok)
	}
	if len(tok.Updates()) != 1 || tok.Updates()[0].Buffers[0] != i {
		t.Errorf("updates %+v", tok.Updates())
	}
	trained := 0
	for _, p := range tok.Params {
		if !p.Buffer {
			trained += p.Len()
		}
	}
	if tok.NumParams() != trained {
		t.Errorf("%d trained values, want %d", tok.NumParams(), trained)
	}
	if _, ok := create(t, small()).Codebook(); ok {
		t.Error("FSQ has a learned codebook")
	}
}

func TestVQConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"model.quantizer.levels: [8]: vq has a codebook_size": func(c *Config) { c.Quantizer.Levels = []int{8} },
		"model.quantizer.codebook_size: 1: want 2":            func(c *Config) { c.Quantizer.CodebookSize = 1 },
		"model.quantizer.code_dim: 0: want 1":                 func(c *Config) { c.Quantizer.CodeDim = 0 },
		"model.quantizer.commitment_weight: 0: vq needs it":   func(c *Config) { c.Quantizer.CommitmentWeight = 0 },
		"model.quantizer.decay: 1: want 0 to 0.9999":          func(c *Config) { c.Quantizer.Decay = 1 },
		"model.quantizer.dead_threshold: -1":                  func(c *Config) { c.Quantizer.DeadThreshold = -1 },
		"the reference has fsq and lfq":                       func(c *Config) { c.Compat = Lucidrains },
	} {
		c := vqConfig(16)
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
