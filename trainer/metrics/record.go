package metrics

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
)

// StepRecord is a record of metrics.jsonl about a training step. Everything but
// Seconds, ClipsPerSecond and Waiting depends on seed, configuration and data
// alone.
type StepRecord struct {
	Step                  int     `json:"step"` // from 1
	Loss                  Number  `json:"loss"` // what the optimizer sees
	Terms                 Terms   `json:"terms,omitempty"`
	CodesUsed             int     `json:"codes_used,omitempty"` // different codes in the step's last batch
	LR                    Number  `json:"lr"`
	GradNorm              Number  `json:"grad_norm"` // before clipping
	Skipped               int     `json:"skipped,omitempty"`
	DiscriminatorGradNorm *Number `json:"discriminator_grad_norm,omitempty"` // before clipping; nil: it was not trained
	ClipsPerSecond        Number  `json:"clips_per_s"`
	Seconds               Number  `json:"seconds"` // since the start of the run, without interruptions
	Waiting               Number  `json:"waiting"` // fraction of the time in which the backend waited for data, in [0,1]
}

// Terms are the unweighted parts of a loss by name, in the model's order. Their names
// are keys of a step's record: recon, gradient, ssim, perceptual, sample_entropy, codebook_entropy, entropy,
// commitment, cross_entropy, forecast; of adversarial training generator, adaptive_weight,
// adversarial_share, discriminator, gradient_penalty, real_logit, fake_logit, real_accuracy, fake_accuracy,
// lecam, lecam_real, lecam_fake.
type Terms []Term

// Term is a part of the loss. Entropies are in nats; forecast is a mean squared error
// in squares of model.classify.unit.
type Term struct {
	Name  string
	Value Number
}

// Of is the value of the term with that name, or NaN.
func (t Terms) Of(name string) Number {
	for _, term := range t {
		if term.Name == name {
			return term.Value
		}
	}
	return Number(math.NaN())
}

// MarshalJSON writes an object with a key for each term.
func (t Terms) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, term := range t {
		name, err := json.Marshal(term.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(term.Value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads the keys of an object whose values are numbers or null.
func (t *Terms) UnmarshalJSON(b []byte) error {
	*t = nil
	keys := json.NewDecoder(bytes.NewReader(b))
	if _, err := keys.Token(); err != nil {
		return err
	}
	for keys.More() {
		key, err := keys.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := keys.Decode(&raw); err != nil {
			return err
		}
		name, ok := key.(string)
		var value Number
		if ok && json.Unmarshal(raw, &value) == nil {
			*t = append(*t, Term{name, value})
		}
	}
	return nil
}

// termsKey is where a step's terms would be without MarshalJSON.
const termsKey = `"terms":{`

// MarshalJSON writes each term under a key of its own, after the loss.
func (r StepRecord) MarshalJSON() ([]byte, error) {
	type plain StepRecord
	b, err := json.Marshal(plain(r))
	if err != nil {
		return nil, err
	}
	before, rest, ok := bytes.Cut(b, []byte(termsKey))
	if !ok {
		return b, nil
	}
	terms, after, _ := bytes.Cut(rest, []byte{'}'})
	return slices.Concat(before, terms, after), nil
}

// stepKeys are the keys of a step's record that are not terms.
var stepKeys = []string{"step", "loss", "codes_used", "lr", "grad_norm", "skipped", "clips_per_s", "seconds", "waiting"}

// UnmarshalJSON reads every other key with a number, or null, as a term.
func (r *StepRecord) UnmarshalJSON(b []byte) error {
	type plain StepRecord
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &r.Terms); err != nil {
		return err
	}
	r.Terms = slices.DeleteFunc(r.Terms, func(t Term) bool { return slices.Contains(stepKeys, t.Name) })
	return nil
}

// EvalRecord is a record of metrics.jsonl about an evaluation on held-out clips, with
// the weights after Step. Step 0 is before training. The same line may also hold the
// keys of a StepRecord of that step.
type EvalRecord struct {
	Step     int             `json:"step"`
	Val      Report          `json:"val,omitzero"`       // of a tokenizer
	Classify *Classification `json:"classify,omitempty"` // of a classifier
	Prior    *Likelihood     `json:"prior,omitempty"`    // of a prior over codes
}
