package kernels

import "fmt"

// CodeCounts is the histogram of a batch's codes: counts_j is how many of the indices
// are j. Whole numbers, exact in float32; an index outside of [0,Codes) counts nowhere.
// Arguments: counts [Codes]; idx [Tokens].
type CodeCounts struct{ Tokens, Codes int }

func (s CodeCounts) Validate() error {
	if s.Codes > MaxCodes {
		return fmt.Errorf("Codes is %d, want at most %d", s.Codes, MaxCodes)
	}
	if s.Tokens > MaxCodes {
		return fmt.Errorf("Tokens is %d, want at most %d: counts are exact up to there", s.Tokens, MaxCodes)
	}
	return positive([]string{"Tokens", "Codes"}, s.Tokens, s.Codes)
}

func (s CodeCounts) Args() []Arg  { return []Arg{out("counts", s.Codes), in("idx", s.Tokens)} }
func (s CodeCounts) FLOPs() int64 { return int64(s.Tokens) }

func (s CodeCounts) Grads() []Grad { return nil }

func (s CodeCounts) Define(args ...[]float32) {
	counts, idx := args[0], args[1]
	clear(counts)
	for _, v := range idx {
		if v >= 0 && v < float32(s.Codes) {
			counts[int(v)]++
		}
	}
}

// cpu: one task, as two could meet in a count; codes are few compared with pixels.
func (s CodeCounts) cpu(*CPU) []stage {
	return []stage{{1, func(args [][]float32, _, _ int) { s.Define(args...) }}}
}
