package trainer

import (
	"strings"
	"testing"

	"magvit/kernels"
)

// train.kernels chooses the backend's kernels of convolutions.
func TestTrainKernels(t *testing.T) {
	conv := kernels.Conv{N: 2, T: 4, H: 16, W: 16, C: 64, O: 64, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	for word, want := range map[string]string{"auto": "winograd F(4×4,3×3)", "exact": "direct"} {
		o := tiny(t, 1)
		o.Config.Train.Kernels = word
		run(t, t.Context(), o)
		if got := o.Backend.(*kernels.CPU).FormOf(conv); got != want {
			t.Errorf("train.kernels %s: convolutions run by %s, want %s", word, got, want)
		}
	}
	o := tiny(t, 1)
	o.Config.Train.Kernels = "fast"
	_, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), `train.kernels: "fast"`) {
		t.Errorf("a wrong word: %v", err)
	}
}
