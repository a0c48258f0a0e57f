package probe

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"

	"magvit/kernels/philox"
)

// mostComponents bounds the principal components that vector heads see, and the
// examples that they are computed from.
const mostComponents = 256

// vectors is every example as a short vector.
type vectors struct {
	dim  int
	data []float32 // [examples, dim]
}

func (v vectors) row(n int) []float32 { return v.data[n*v.dim:][:v.dim] }

// scaling is a mean and a reciprocal deviation of each of n features.
type scaling struct{ mean, scale []float32 }

// standardise measures features over examples of the clips to fit on only: the
// feature of value i of an example is i modulo n.
//
// Why the floor, a tenth of the typical deviation: a pixel that hardly ever
// changes would otherwise weigh as much as one that does.
func standardise(f Field, n int, clips []int, views int) scaling {
	sum, square := make([]float64, n), make([]float64, n)
	for _, c := range clips {
		for v := range views {
			for i, x := range f.row(c*views + v) {
				sum[i%n] += float64(x)
				square[i%n] += float64(x) * float64(x)
			}
		}
	}
	count := float64(len(clips)*views) * float64(f.size()/n)
	s := scaling{make([]float32, n), make([]float32, n)}
	total := 0.
	for i := range sum {
		sum[i] /= count
		square[i] = max(square[i]/count-sum[i]*sum[i], 0)
		total += square[i] / float64(n)
	}
	for i := range sum {
		s.mean[i] = float32(sum[i])
		if d := square[i] + .01*total; d > 1e-12 {
			s.scale[i] = float32(1 / math.Sqrt(d))
		}
	}
	return s
}

func (s scaling) apply(dst, src []float32) {
	n := len(s.mean)
	for i, x := range src {
		dst[i] = (x - s.mean[i%n]) * s.scale[i%n]
	}
}

// channelwise is a copy of the field, standardised for each channel.
func channelwise(f Field, clips []int, views int) Field {
	s := standardise(f, f.C, clips, views)
	out := f
	out.Data = make([]float32, len(f.Data))
	s.apply(out.Data, f.Data)
	return out
}

// pooled is the mean and the deviation of each channel over an example.
func pooled(f Field) Field {
	out := Field{T: 1, H: 1, W: 1, C: 2 * f.C}
	for n := range len(f.Data) / f.size() {
		sum, square := make([]float64, f.C), make([]float64, f.C)
		for i, x := range f.row(n) {
			sum[i%f.C] += float64(x)
			square[i%f.C] += float64(x) * float64(x)
		}
		count := float64(f.T * f.H * f.W)
		for i := range sum {
			mean := sum[i] / count
			out.Data = append(out.Data, float32(mean), float32(math.Sqrt(max(square[i]/count-mean*mean, 0))))
		}
	}
	return out
}

// project standardises each feature and, where there are more than
// mostComponents, turns them into principal components. All of it is fitted on the
// clips to fit on. Components keep their relative size, and together have a mean
// square of 1.
func project(f Field, clips []int, views int, r *philox.Stream) (vectors, error) {
	d := f.size()
	s := standardise(f, d, clips, views)
	n := len(f.Data) / d
	if d <= mostComponents {
		out := vectors{d, make([]float32, len(f.Data))}
		for i := range n {
			s.apply(out.row(i), f.row(i))
		}
		return out, nil
	}
	some := min(mostComponents, len(clips)*views)
	rows := make([]float32, some*d)
	for k, at := range r.Perm(len(clips) * views)[:some] {
		s.apply(rows[k*d:][:d], f.row(clips[at/views]*views+at%views))
	}
	gram := make([]float32, some*some)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, matrix(some, d, rows), matrix(some, d, rows), 0, matrix(some, some, gram))
	basis, kept, err := eigen(gram, some)
	if err != nil {
		return vectors{}, err
	}
	if kept == 0 { // every example is the same
		return vectors{1, make([]float32, n)}, nil
	}
	axes := make([]float32, kept*d)
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, matrix(kept, some, basis), matrix(some, d, rows), 0, matrix(kept, d, axes))
	out := vectors{kept, make([]float32, n*kept)}
	const block = 64
	scaled := make([]float32, block*d)
	for from := 0; from < n; from += block {
		m := min(block, n-from)
		for k := range m {
			s.apply(scaled[k*d:][:d], f.row(from+k))
		}
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, matrix(m, d, scaled), matrix(kept, d, axes), 0, matrix(m, kept, out.data[from*kept:]))
	}
	square := 0.
	for _, c := range clips {
		for _, x := range out.row(c * views) {
			square += float64(x) * float64(x) / float64(len(clips)*kept)
		}
	}
	if square > 0 {
		for i := range out.data {
			out.data[i] *= float32(1 / math.Sqrt(square))
		}
	}
	return out, nil
}

// eigen gives the eigenvectors of a Gram matrix [n,n], the largest first, each
// divided by the root of its eigenvalue, as rows; those that are but rounding
// errors are left out.
func eigen(gram []float32, n int) (rows []float32, kept int, err error) {
	m := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			m.SetSym(i, j, float64(gram[i*n+j]))
		}
	}
	var e mat.EigenSym
	if !e.Factorize(m, true) {
		return nil, 0, fmt.Errorf("probe: the principal components of %d examples do not converge", n)
	}
	values := e.Values(nil)
	var v mat.Dense
	e.VectorsTo(&v)
	for k := n - 1; k >= 0 && values[k] > 1e-5*values[n-1] && values[k] > 1e-9; k-- {
		for i := range n {
			rows = append(rows, float32(v.At(i, k)/math.Sqrt(values[k])))
		}
		kept++
	}
	return rows, kept, nil
}

func distance(a, b []float32) float64 {
	var s float32
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return float64(s)
}

// centroids guesses the class whose mean is nearest.
func centroids(v vectors, in, labels []int, views, classes int, out []int) (guess []int) {
	mean, count := make([]float32, classes*v.dim), make([]float32, classes)
	for _, c := range in {
		for k := range views {
			count[labels[c]]++
			for i, x := range v.row(c*views + k) {
				mean[labels[c]*v.dim+i] += x
			}
		}
	}
	for c, n := range count {
		for i := range v.dim {
			mean[c*v.dim+i] /= n
		}
	}
	for _, o := range out {
		best, near := 0, math.Inf(1)
		for c := range classes {
			if d := distance(v.row(o*views), mean[c*v.dim:][:v.dim]); d < near {
				best, near = c, d
			}
		}
		guess = append(guess, best)
	}
	return guess
}

// nearest guesses the class of the nearest example.
func nearest(v vectors, in, labels []int, views int, out []int) (guess []int) {
	for _, o := range out {
		best, near := 0, math.Inf(1)
		for _, c := range in {
			for k := range views {
				if d := distance(v.row(o*views), v.row(c*views+k)); d < near {
					best, near = labels[c], d
				}
			}
		}
		guess = append(guess, best)
	}
	return guess
}
