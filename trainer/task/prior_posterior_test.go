package task

import (
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
)

// The posterior of a class is its likelihood over the sum of those of all classes, and a
// clip's does not depend on the clips it is computed with.
func TestLogPosterior(t *testing.T) {
	for _, kind := range []string{model.Masked, model.Autoregressive} {
		p := tinyPrior(t, kind)
		codes, numbers := []int32{0, 1, 2, 3, 4, 5, 0, 1, 5, 5, 3, 3, 1, 0, 2, 4}, []int{4, 9}
		var logp [2][2]float64 // [class][clip]
		for class := range logp {
			bits, err := p.bits(codes, []int{class, class}, numbers)
			if err != nil {
				t.Fatal(err)
			}
			for n, b := range bits {
				logp[class][n] = -8 * b * math.Ln2
			}
		}
		for _, classes := range [][]int{{0, 1}, {1, 0}} {
			got, err := p.LogPosterior(codes, classes, numbers)
			if err != nil {
				t.Fatal(err)
			}
			for n, class := range classes {
				want := -math.Log(1 + math.Exp(logp[1-class][n]-logp[class][n]))
				if math.Abs(got[n]-want) > 1e-6-1e-4*want || want > -1e-5 {
					t.Errorf("%s: clip %d is of class %d by %v, want %v", kind, n, class, got[n], want)
				}
			}
			alone, err := p.LogPosterior(codes[8:], classes[1:], numbers[1:])
			if err != nil || !slices.Equal(alone, got[1:]) {
				t.Errorf("%s: alone %v, with another clip %v (%v)", kind, alone, got[1:], err)
			}
		}
		if got, err := p.LogPosterior(codes, []int{2, 2}, numbers); err != nil || !slices.Equal(got, []float64{0, 0}) {
			t.Errorf("%s: clips without a class: %v (%v), want 0", kind, got, err)
		}
	}
}

func TestLogPosteriorNeedsClasses(t *testing.T) {
	for _, classes := range []int{0, 1, maxClasses + 1} {
		p := tinyPriorOf(t, model.Masked, 2, kernels.NewCPU(1))
		p.Network.Config.Prior.Classes = classes
		if _, err := p.LogPosterior(make([]int32, 8), []int{0}, []int{0}); err == nil || !strings.Contains(err.Error(), "want 2 to 16") {
			t.Errorf("%d classes: %v", classes, err)
		}
	}
}
