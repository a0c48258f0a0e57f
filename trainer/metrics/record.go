package metrics

// StepRecord is a line of metrics.jsonl about a training step. Everything but
// Seconds, ClipsPerSecond and Waiting depends on seed, configuration and data
// alone. Terms that a configuration does not have are left out.
type StepRecord struct {
	Step            int    `json:"step"`                       // from 1
	Loss            Number `json:"loss"`                       // what the optimizer sees
	Recon           Number `json:"recon"`                      // reconstruction term
	SampleEntropy   Number `json:"sample_entropy,omitempty"`   // LFQ, nats: entropy of each code, made small
	CodebookEntropy Number `json:"codebook_entropy,omitempty"` // LFQ, nats: entropy of the mean over the batch, made large
	Entropy         Number `json:"entropy,omitempty"`          // LFQ, nats: sample_entropy - gamma * codebook_entropy
	Commitment      Number `json:"commitment,omitempty"`
	CrossEntropy    Number `json:"cross_entropy,omitempty"` // classifiers, nats
	Forecast        Number `json:"forecast,omitempty"`      // classifiers: mean squared error of positions, in squares of model.classify.unit
	CodesUsed       int    `json:"codes_used,omitempty"`    // different codes in the step's last batch
	LR              Number `json:"lr"`
	GradNorm        Number `json:"grad_norm"` // before clipping
	Skipped         int    `json:"skipped,omitempty"`
	ClipsPerSecond  Number `json:"clips_per_s"`
	Seconds         Number `json:"seconds"` // since the run began, its interruptions left out
	Waiting         Number `json:"waiting"` // share of the time in which the backend waited for data, in [0,1]
}

// EvalRecord is a line of metrics.jsonl about an evaluation on held-out clips,
// made with the weights after Step. Step 0 is before training. A line may also
// hold the keys of a StepRecord of the same step.
type EvalRecord struct {
	Step     int             `json:"step"`
	Val      Report          `json:"val,omitzero"`       // of a tokenizer
	Classify *Classification `json:"classify,omitempty"` // of a classifier
}
