package kernels

import (
	"math"
	"testing"

	"magvit/kernels/philox"
)

// A tile's transforms, on every instruction set, give what the matrices of
// F(m×m,3×3) do in float64: the outputs of a direct correlation and its gradients.
func TestWinogradTransformsGiveACorrelation(t *testing.T) {
	const channels, more = 32, 16 // values of a pixel, those before the first one used
	for _, isa := range sets(t) {
		for fi := range isaWinograd[isa] {
			f := &isaWinograd[isa][fi]
			g := philox.New(1, "winograd", 0, uint64(f.m))
			pixels := func(n int) (list []*float32, values [][]float32) {
				for range n {
					v := alignedFloats(more + channels)
					for i := range v {
						v[i] = float32(g.Normal())
					}
					list, values = append(list, &v[0]), append(values, v)
				}
				return list, values
			}
			n, m := f.size(), f.m
			plane := channels + 16
			planes := func() []float32 { return alignedFloats(f.planes() * plane) }
			dList, d := pixels(n * n)
			wList, w := pixels(9)
			dyList, dy := pixels(m * m)
			V, U, Y, M, MW := planes(), planes(), planes(), planes(), planes()
			f.input(&V[0], plane, &dList[0], more, channels, 0)
			f.weights(&U[0], plane, &wList[0], more, channels, 0)
			f.gradOutput(&Y[0], plane, &dyList[0], more, channels, 0)
			for i := range M {
				M[i], MW[i] = U[i]*V[i], Y[i]*V[i]
			}
			check := func(what string, got float32, want float64) {
				t.Helper()
				if d := math.Abs(float64(got) - want); !(d < 2e-5) {
					t.Errorf("%v F(%d): %s is %g, want %g", isa, m, what, got, want)
				}
			}
			bias := alignedFloats(more + channels)
			for i := range bias {
				bias[i] = float32(g.Normal())
			}
			r, rv := pixels(m * m)
			s, sv := pixels(m * m)
			for kind := range 3 {
				yList, y := pixels(m * m)
				switch kind {
				case 0:
					f.output(&yList[0], &M[0], plane, &bias[0], &r[0], more, channels, 0)
				case 1:
					f.outputELU(&yList[0], &M[0], plane, &bias[0], &r[0], more, channels, 0)
				case 2:
					f.outputELUSlope(&yList[0], &M[0], plane, &r[0], &s[0], more, channels, 0)
				}
				for i := range m {
					for j := range m {
						for k := more; k < more+channels; k++ {
							sum := 0.
							for a := range 3 {
								for b := range 3 {
									sum += float64(d[(i+a)*n+j+b][k]) * float64(w[a*3+b][k])
								}
							}
							p := i*m + j
							more := float64(rv[p][k])
							switch kind {
							case 0:
								sum += float64(bias[k]) + more
							case 1:
								sum = ELU.Apply(sum+float64(bias[k])) + more
							case 2:
								sum = (sum + more) * ELU.Slope(float64(sv[p][k]))
							}
							check("a pixel", y[p][k], sum)
						}
					}
				}
			}
			dwList, dw := pixels(9)
			var before [9][more + channels]float32
			for i := range dw {
				copy(before[i][:], dw[i])
			}
			f.gradWeights(&dwList[0], &MW[0], plane, more, channels, 0)
			for a := range 3 {
				for b := range 3 {
					for k := range more + channels {
						sum := float64(before[a*3+b][k])
						if k >= more {
							for i := range m {
								for j := range m {
									sum += float64(d[(i+a)*n+j+b][k]) * float64(dy[i*m+j][k])
								}
							}
						}
						check("a gradient", dw[a*3+b][k], sum)
					}
				}
			}
		}
	}
}
