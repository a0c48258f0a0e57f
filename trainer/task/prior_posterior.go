package task

import (
	"math"
	"slices"

	"magvit/trainer/usage"
)

// LogPosterior returns the logarithm of the probability of each clip's class given its
// codes, all classes being equally likely before: Bayes' rule with the prior's likelihoods.
// A clip without a class has 0. codes are [N,L]; clips are the numbers that the masks of a
// masked prior, whose likelihoods are estimates, follow from.
func (p *Prior) LogPosterior(codes []int32, classes, clips []int) ([]float64, error) {
	s := p.settings()
	if s.Classes < 2 || s.Classes > maxClasses {
		return nil, usage.Errorf("a prior of %d classes cannot tell them apart by its likelihoods; want 2 to %d", s.Classes, maxClasses)
	}
	logp := make([][]float32, len(clips)) // [N][classes]
	for class := range s.Classes {
		bits, err := p.bits(codes, slices.Repeat([]int{class}, len(clips)), clips)
		if err != nil {
			return nil, err
		}
		for n, b := range bits {
			logp[n] = append(logp[n], float32(-b*float64(s.Tokens())*math.Ln2))
		}
	}
	of := make([]float64, len(clips))
	for n, class := range classes {
		if class < s.Classes {
			of[n] = float64(logp[n][class]) - logSumExp(logp[n], 1)
		}
	}
	return of, nil
}
