package kernels_test

import (
	"testing"

	"magvit/kernels"
)

func TestPadRows(t *testing.T) {
	checkLiterals(t,
		literal{kernels.PadRows{Rows: 2, From: 2, To: 3}, [][]float32{{1, 2, 3, 4}}, []float32{1, 2, 0, 3, 4, 0}},
		literal{kernels.PadRows{Rows: 2, From: 3, To: 2}, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{1, 2, 4, 5}},
	)
	if err := (kernels.PadRows{Rows: 1, From: 1 << 21, To: 1 << 21}).Validate(); err != nil {
		t.Error(err)
	}
	checkRefusals(t,
		refusal{kernels.PadRows{Rows: 1, From: 0, To: 1}, "From is 0"},
		refusal{kernels.PadRows{Rows: 1, From: 1, To: 0}, "To is 0"},
	)
}
