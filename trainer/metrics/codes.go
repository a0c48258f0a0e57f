package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// histogram counts codes. Several codebooks of one tokenizer share the
// histogram: LFQ's and FSQ's codes mean the same in each. It is sparse, because
// a set of clips uses a small part of a codebook of 2^18.
type histogram struct {
	size   int
	levels []int
	count  map[int32]int64
}

func newHistogram(size int, levels []int) histogram {
	return histogram{size: size, levels: levels, count: map[int32]int64{}}
}

func (h histogram) check(codes []int32) error {
	for i, c := range codes {
		if c < 0 || int(c) >= h.size {
			return fmt.Errorf("code %d is %d: must be in [0,%d)", i, c, h.size)
		}
	}
	return nil
}

func (h histogram) add(codes []int32) {
	for _, c := range codes {
		h.count[c]++
	}
}

// report computes the statistics. Without codes they are 0, and every digit is dead.
func (h histogram) report() Codes {
	r := Codes{Size: h.size, Levels: h.levels, Used: len(h.count), Digits: h.digits(), DeadBits: h.dead()}
	used := slices.Sorted(maps.Keys(h.count))
	for _, c := range used {
		r.Count += h.count[c]
	}
	r.UsedFraction = Number(float64(r.Used) / float64(r.Size))
	if r.Count == 0 {
		return r
	}
	r.Ranks = h.ranks(r.Count)
	nats := 0.
	for _, c := range used {
		p := float64(h.count[c]) / float64(r.Count)
		nats -= p * math.Log(p)
	}
	r.Perplexity, r.EntropyBits = Number(math.Exp(nats)), Number(max(nats, 0)/math.Ln2)
	return r
}

// Bounds of Collapsed.
const (
	CollapsedPerplexity = 4.  // of codes
	CollapsedFraction   = .02 // of the codes that could have been counted, where these are
	CollapsedCodes      = 64  // fewer codes than this
	CollapsedDigits     = .5  // of the digits are dead
)

// Collapsed reports whether the codes hardly depend on the clip: their perplexity is below CollapsedPerplexity, fewer than
// CollapsedCodes and than CollapsedFraction of the reachable ones are used, or at least CollapsedDigits of the digits are
// dead. It is false without codes.
func (c Codes) Collapsed() bool {
	few := c.Used < CollapsedCodes && float64(c.Used) < CollapsedFraction*float64(c.Reachable())
	return c.Count > 0 && (float64(c.Perplexity) < CollapsedPerplexity || few || float64(c.DeadBits) >= CollapsedDigits*float64(c.Digits))
}

// ranks gives the frequencies of the codes of rank 1, 2, 3, 4, 5, 6, 8, ... and of the last.
func (h histogram) ranks(total int64) (list []Rank) {
	counts := slices.SortedFunc(maps.Values(h.count), func(a, b int64) int { return cmp.Compare(b, a) })
	for i := range counts {
		if n := i + 1; n == len(counts) || spaced(n) {
			list = append(list, Rank{n, Number(float64(counts[i]) / float64(total))})
		}
	}
	return list
}

// spaced reports whether n is 2^(k/3) rounded down for an integer k.
func spaced(n int) bool {
	return math.Floor(3*math.Log2(float64(n+1))-1e-9) > math.Floor(3*math.Log2(float64(n))-1e-9) || n == 1
}

// digits is the number of digits of an index: FSQ dimensions, or else bits.
func (h histogram) digits() int {
	if len(h.levels) > 0 {
		return len(h.levels)
	}
	return bits.Len(uint(h.size - 1))
}

// dead counts the digits of the index that are the same in every code counted.
func (h histogram) dead() int {
	dead := 0
	base := 1
	for d := range h.digits() {
		level := 2
		if len(h.levels) > 0 {
			level = h.levels[d]
		}
		first, changes := -1, false
		for c := range h.count {
			digit := int(c) / base % level
			changes = changes || first >= 0 && digit != first
			first = digit
		}
		if !changes {
			dead++
		}
		base *= level
	}
	return dead
}
