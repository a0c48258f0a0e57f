package metrics

import (
	"strings"
	"testing"
)

// steps are records of equal adversarial terms.
func steps(n int, real, fake, realLogit, fakeLogit, share Number) (list []StepRecord) {
	for i := range n {
		list = append(list, StepRecord{Step: i + 1, Terms: Terms{{"recon", 1}, {"discriminator", 1}, {"real_accuracy", real}, {"fake_accuracy", fake},
			{"real_logit", realLogit}, {"fake_logit", fakeLogit}, {"adversarial_share", share}}})
	}
	return list
}

func TestJudgeAdversary(t *testing.T) {
	before := StepRecord{Step: 1, Terms: Terms{{"recon", 1}}}
	for want, records := range map[string][]StepRecord{
		"has won":             steps(10, 1, 1, 2, -2, .1),
		"ignores":             steps(10, .7, .6, .3, -.2, .001),
		"drowns":              steps(10, .7, .6, .3, -.2, 50),
		"tells nothing apart": steps(10, 1, 0, .01, .01, .1),
		"":                    steps(10, .8, .7, .4, -.3, .1),
	} {
		problem, advice := JudgeAdversary(append([]StepRecord{before}, records...))
		if !strings.Contains(problem, want) || (problem == "") != (want == "") || (advice == "") != (want == "") {
			t.Errorf("%q: %q, %q", want, problem, advice)
		}
	}
	if problem, _ := JudgeAdversary(steps(9, 1, 1, 2, -2, .1)); problem != "" {
		t.Errorf("nine records: %q", problem)
	}
	// Steps without weight do not count.
	if problem, _ := JudgeAdversary(append(steps(9, .8, .7, .4, -.3, .1), steps(20, 1, 1, 2, -2, 0)...)); problem != "" {
		t.Errorf("a discriminator that is trained alone: %q", problem)
	}
	// Only the last records count.
	if problem, _ := JudgeAdversary(append(steps(30, 1, 1, 2, -2, .1), steps(10, .8, .7, .4, -.3, .1)...)); problem != "" {
		t.Errorf("after it was cured: %q", problem)
	}
}
