package metrics

import (
	"fmt"
	"io"
	"math"
)

// PriorFile is the last evaluation of a prior's run, in its directory: a Likelihood of the last weights on the held-out
// clips. As of a classifier, there is no best checkpoint.
const PriorFile = "prior.json"

// Likelihood is how well a prior predicts the codes of held-out clips, in bits for each code, and how well three models
// without a network do.
type Likelihood struct {
	Preset      string `json:"preset,omitempty"`
	Kind        string `json:"kind"`              // masked or autoregressive
	Step        int    `json:"step"`              // of the weights
	Seconds     Number `json:"seconds,omitempty"` // of training, evaluations included
	Clips       int    `json:"clips"`
	Tokens      int    `json:"tokens"` // codes of a clip
	Bits        Number `json:"bits_per_token"`
	Low         Number `json:"low"` // 95 % interval of the mean over clips, from their deviation
	High        Number `json:"high"`
	Bound       bool   `json:"upper_bound"` // masked: the mean over random orders, which the bits of the model are at most
	Uniform     Number `json:"uniform"`     // log2 of the codebook
	Unigram     Number `json:"unigram"`     // by how often each code is in the training clips
	FrameBefore Number `json:"frame_before"`

	Classes *ClassBits `json:"classes,omitempty"` // nil without labels, or of too many classes
}

// ClassBits is what a prior knows of the classes: by how many bits a clip's own class predicts its codes better than
// another, and how often no other class predicts them better, which makes the prior a classifier of held-out clips.
type ClassBits struct {
	Clips    int    `json:"clips"`                  // with a label
	Without  Number `json:"bits_without_class"`     // for each code
	Other    Number `json:"bits_with_other_class"`  // mean over the other classes
	Accuracy Number `json:"accuracy_by_likelihood"` // fraction of the clips whose own class has the fewest bits
	Low      Number `json:"low"`                    // 95 % interval of the accuracy (Wilson 1927)
	High     Number `json:"high"`
	Chance   Number `json:"chance"`
}

// CodeModel accumulates the models without a network: unigrams, and codes given the one at the same place in the frame before,
// shrunk towards the unigrams.
type CodeModel struct {
	size, place int // codebook; codes of a frame
	counts      map[int32]float64
	pairs       map[[2]int32]float64
	total       float64
	before      map[int32]float64
}

// NewCodeModel is empty, for codes in [0,size) and frames of place codes.
func NewCodeModel(size, place int) *CodeModel {
	return &CodeModel{size: size, place: place, counts: map[int32]float64{}, pairs: map[[2]int32]float64{}, before: map[int32]float64{}}
}

// Add counts the codes of a training clip.
func (m *CodeModel) Add(codes []int32) {
	for i, c := range codes {
		m.counts[c]++
		m.total++
		if i >= m.place {
			b := codes[i-m.place]
			m.pairs[[2]int32{b, c}]++
			m.before[b]++
		}
	}
}

// shrinkage is the number of counts that a distribution of more codes is worth.
const shrinkage = 2

// Bits returns the bits for each code of a clip by unigrams, each counted once more than it is, and by the frame before.
func (m *CodeModel) Bits(codes []int32) (unigram, frameBefore float64) {
	for i, c := range codes {
		p := (m.counts[c] + 1) / (m.total + float64(m.size))
		unigram -= math.Log2(p)
		if i >= m.place {
			b := codes[i-m.place]
			p = (m.pairs[[2]int32{b, c}] + shrinkage*p) / (m.before[b] + shrinkage)
		}
		frameBefore -= math.Log2(p)
	}
	n := float64(len(codes))
	return unigram / n, frameBefore / n
}

// WriteLikelihood prints a Likelihood for a terminal.
func WriteLikelihood(w io.Writer, r Likelihood) error {
	name := "this prior"
	if r.Bound {
		name = "this prior, at most"
	}
	_, err := fmt.Fprintf(w, "%d clips of %d codes: bits for each code\n\n%-22s%s (95 %%: %s to %s)\n%-22s%s\n%-22s%s\n%-22s%s\n", r.Clips, r.Tokens,
		name, r.Bits.Text(3), r.Low.Text(3), r.High.Text(3), "frame before", r.FrameBefore.Text(3), "unigram", r.Unigram.Text(3), "uniform", r.Uniform.Text(3))
	if c := r.Classes; c != nil && err == nil {
		_, err = fmt.Fprintf(w, "\n%-22s%s\n%-22s%s\n%-22s%s %% (95 %%: %s to %s) of %d clips; chance %s\n",
			"with another class", c.Other.Text(3), "without a class", c.Without.Text(3), "own class likeliest", (100 * c.Accuracy).Text(1), (100 * c.Low).Text(1), (100 * c.High).Text(1), c.Clips, (100 * c.Chance).Text(1))
	}
	return err
}
