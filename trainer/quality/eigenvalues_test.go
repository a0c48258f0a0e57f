package quality

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// Eigenvalues are those of mat.EigenSym, of sizes around the panel's, of singular and of diagonal matrices.
func TestEigenvalues(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, panel - 1, panel, panel + 1, panel + 2, panel + 3, 2*panel + 2, 3*panel - 1} {
		for _, rank := range []int{0, 1, (n + 1) / 2, n} {
			x := noise("eigenvalues", n*n)
			symmetric := mat.NewSymDense(n, nil)
			for k := range rank {
				row := mat.NewVecDense(n, nil)
				for i := range n {
					row.SetVec(i, float64(x[k*n+i]-.5))
				}
				symmetric.SymRankOne(symmetric, float64(1-k%2*2), row)
			}
			if rank == 0 { // nothing to eliminate
				for i := range n {
					symmetric.SetSym(i, i, float64(x[i]))
				}
			}
			var want mat.EigenSym
			if !want.Factorize(symmetric, false) {
				t.Fatal("no convergence")
			}
			got, ok := eigenvalues(mat.DenseCopyOf(symmetric))
			if !ok || len(got) != n {
				t.Fatalf("%d rows: %d eigenvalues, %v", n, len(got), ok)
			}
			for i, v := range want.Values(nil) {
				if math.Abs(got[i]-v) > 1e-12*(1+mat.Norm(symmetric, 2)) {
					t.Errorf("%d rows of rank %d: eigenvalue %d is %.15g, want %.15g", n, rank, i, got[i], v)
				}
			}
		}
	}
}
