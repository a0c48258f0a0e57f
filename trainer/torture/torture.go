// Package torture gives campaigns of random faults their length and their seed.
package torture

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Campaign returns the length of a campaign of random faults, and its random numbers. Ordinary tests run short ones of
// seed 1. make torture sets MAGVIT_TORTURE: such a campaign is that many times full, and of a seed that it draws and
// logs; MAGVIT_TORTURE_SEED repeats one.
func Campaign(t *testing.T, short, full int) (n int, r *rand.Rand) {
	t.Helper()
	n, seed := short, uint64(1)
	if s := os.Getenv("MAGVIT_TORTURE"); s != "" {
		times, err := strconv.ParseFloat(s, 64)
		if err != nil || !(times > 0) {
			t.Fatalf("MAGVIT_TORTURE=%s: want a number above 0", s)
		}
		n, seed = max(int(float64(full)*times+.5), 1), uint64(time.Now().UnixNano())
	} else if testing.Short() {
		t.Skip("-short: runs many programs")
	}
	if s := os.Getenv("MAGVIT_TORTURE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MAGVIT_TORTURE_SEED=%s: want a number", s)
		}
	}
	t.Logf("MAGVIT_TORTURE_SEED=%d", seed)
	return n, rand.New(rand.NewPCG(seed, 0))
}
