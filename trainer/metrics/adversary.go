package metrics

import (
	"fmt"
	"slices"
)

// Thresholds of JudgeAdversary, which reports print.
const (
	AdversaryWindow = 10  // records that it judges
	WonAccuracy     = .98 // accuracy on both kinds of frames from which the discriminator has won
	BlindAccuracy   = .55 // mean accuracy up to which it is blind
	IgnoredShare    = .01 // adversarial_share below which the tokenizer ignores it
	DrowningShare   = 10. // adversarial_share above which it ignores everything else
	blindDistance   = .05 // of mean logits
)

// adversarialTerms are the terms of adversarial training in a step's record.
var adversarialTerms = []string{"generator", "adaptive_weight", "adversarial_share", "discriminator", "gradient_penalty",
	"real_logit", "fake_logit", "real_accuracy", "fake_accuracy", "lecam", "lecam_real", "lecam_fake"}

// IsAdversarial reports whether a term belongs to adversarial training.
func IsAdversarial(term string) bool { return slices.Contains(adversarialTerms, term) }

// Adversarial reports whether the discriminator was trained in the step.
func (r StepRecord) Adversarial() bool { return r.Terms.Of("discriminator").Finite() }

// JudgeAdversary says what is wrong with adversarial training and what to change, both ""
// if nothing is or if there are too few records to judge. It looks at means over the last
// AdversaryWindow records of steps that trained the discriminator and in which the tokenizer's term had a weight.
func JudgeAdversary(records []StepRecord) (problem, advice string) {
	var last []StepRecord
	for _, r := range slices.Backward(records) {
		if r.Adversarial() && r.Terms.Of("adversarial_share") != 0 && len(last) < AdversaryWindow {
			last = append(last, r)
		}
	}
	if len(last) < AdversaryWindow {
		return "", ""
	}
	mean := func(term string) (sum float64) {
		for _, r := range last {
			sum += float64(r.Terms.Of(term)) / float64(len(last))
		}
		return sum
	}
	real, fake, share := mean("real_accuracy"), mean("fake_accuracy"), mean("adversarial_share")
	apart := mean("real_logit") - mean("fake_logit")
	switch {
	case real >= WonAccuracy && fake >= WonAccuracy:
		return fmt.Sprintf("the discriminator has won: it recognizes %.0f %% of real and %.0f %% of reconstructed frames, so that its gradients no longer lead the tokenizer anywhere", 100*real, 100*fake),
			"lower train.discriminator.lr, raise model.loss.adversarial.penalty_weight or lower penalty_every, or start later (model.loss.adversarial.start)"
	case share < IgnoredShare:
		return fmt.Sprintf("the tokenizer ignores the discriminator: the adversarial term has %.2g %% of the gradient of the other terms", 100*share),
			"raise model.loss.adversarial.weight, or let it follow the gradients with model.loss.adversarial.adaptive=taming"
	case share > DrowningShare:
		return fmt.Sprintf("the adversarial term drowns all others: it has %.2g times their gradient, and reconstructions will leave their clips", share),
			"lower model.loss.adversarial.weight, or let it follow the gradients with model.loss.adversarial.adaptive=taming"
	case (real+fake)/2 <= BlindAccuracy && apart < blindDistance && apart > -blindDistance:
		return fmt.Sprintf("the discriminator tells nothing apart: it is right in %.0f %% of the frames, and its logits differ by %.2g", 50*(real+fake), apart),
			"bring train.discriminator.lr nearer to 5e-4, train it alone first (model.loss.adversarial.pretrain), lower model.loss.adversarial.penalty_weight, or give it more to see (model.discriminator.size, model.loss.adversarial.frames) and more channels (model.discriminator.dim)"
	}
	return "", ""
}
