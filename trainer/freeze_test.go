package trainer

import (
	"slices"
	"strings"
	"testing"

	"magvit/trainer/checkpoint"
	"magvit/trainer/trainertest"
)

// weightsOf are the tensors of a run's last checkpoint.
func weightsOf(t *testing.T, run string) map[string]checkpoint.Tensor {
	t.Helper()
	tensors, _, err := checkpoint.ReadWeights(run)
	trainertest.Check(t, err)
	return tensors
}

// Frozen parameters keep their bits, also with weight decay; the others are trained.
func TestFreeze(t *testing.T) {
	sets := []string{"train.steps=3", "train.weight_decay=0.1", "train.ema.decay=0", "train.eval_every=0", "train.save_every=0"}
	first, _ := small(t, append(sets, "train.steps=1", "train.seed=5")...)
	_, err := Run(t.Context(), first)
	trainertest.Check(t, err)
	o, log := small(t, append(sets, "train.freeze=[encoder_layers.*, conv_in.*]")...)
	o.Init = first.Out
	_, err = Run(t.Context(), o)
	trainertest.Check(t, err)
	before, after := weightsOf(t, first.Out), weightsOf(t, o.Out)
	frozen, moved := 0, 0
	for name, x := range before {
		same := slices.Equal(x.Values, after[name].Values)
		switch {
		case !strings.HasPrefix(name, "encoder_layers.") && !strings.HasPrefix(name, "conv_in."):
			if !same {
				moved++
			}
		case !same:
			t.Errorf("%s is frozen and was changed", name)
		default:
			frozen++
		}
	}
	if frozen == 0 || moved == 0 {
		t.Errorf("%d parameters are frozen, %d were trained", frozen, moved)
	}
	if !strings.Contains(log.String(), "parameters that are not trained") {
		t.Errorf("the log does not say what is frozen:\n%s", log)
	}
	for pattern, want := range map[string]string{"absent.*": "no parameter has such a name", "*": "no parameter is left to train", "[": "syntax error"} {
		o, _ := small(t, append(sets, `train.freeze=["`+pattern+`"]`)...)
		_, err := Run(t.Context(), o)
		trainertest.Refused(t, err, "train.freeze", want)
	}
}
