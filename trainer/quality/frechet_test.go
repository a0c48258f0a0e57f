package quality

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// hashed are values in [0,1), a function of their position and a number.
func hashed(n int, seed uint32) []float32 {
	x := make([]float32, n)
	for i := range x {
		u := uint32(i) + seed*0x9e3779b1
		u = (u ^ u>>16) * 0x85ebca6b
		u = (u ^ u>>13) * 0xc2b2ae35
		x[i] = float32((u^u>>16)>>8) / (1 << 24)
	}
	return x
}

// addHashed adds the vectors that testdata/frechet_many.py makes.
func addHashed(t testing.TB, m *moments, n, d int, seed uint32) {
	x, sizes := hashed(n*d, seed), hashed(d, seed+1)
	v := make([]float32, d)
	for r := range n {
		row := x[r*d:][:d]
		for i := range v {
			v[i] = (row[i] + row[(i+d-1)%d]) * (1 + sizes[i])
		}
		check(t, m.add(v))
	}
}

// The Fréchet distance is scipy's with fewer, as many and more vectors than features, on either side.
func TestFrechetDistanceOfManyIsScipys(t *testing.T) {
	text, err := os.ReadFile("testdata/frechet_many.json")
	check(t, err)
	var golden struct {
		Cases []struct {
			N1, N2, Features int
			Distance         float64
		}
	}
	check(t, json.Unmarshal(text, &golden))
	if len(golden.Cases) < 5 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		var x, y moments
		addHashed(t, &x, c.N1, c.Features, 10)
		addHashed(t, &y, c.N2, c.Features, 20)
		got, err := frechetDistance(&x, &y)
		check(t, err)
		if math.Abs(got-c.Distance) > 1e-6*c.Distance {
			t.Errorf("%d and %d vectors of %d features: %.9f, want %.9f", c.N1, c.N2, c.Features, got, c.Distance)
		}
	}
}

// BenchmarkFrechetDistance is the distance of sets of 2,300 and 2,500 vectors of 2,048 features, as many as FID has,
// without the moments.
func BenchmarkFrechetDistance(b *testing.B) {
	var x, y moments
	addHashed(b, &x, 2300, 2048, 10)
	addHashed(b, &y, 2500, 2048, 20)
	x.flush()
	y.flush()
	for b.Loop() {
		d, err := frechetDistance(&x, &y)
		check(b, err)
		b.Logf("distance %.9f", d) // scipy: 634.391121243
	}
}
