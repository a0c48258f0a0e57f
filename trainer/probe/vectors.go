package probe

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/mat"

	"magvit/kernels/philox"
	"magvit/trainer/probe/nn"
)

// maxComponents bounds the principal components that vector heads get, and the
// examples that they are computed from.
const maxComponents = 256

// vectors is every example as a short vector.
type vectors struct {
	dim  int
	data []float32 // [examples, dim]
}

func (v vectors) row(n int) []float32 { return v.data[n*v.dim:][:v.dim] }

// scaling is a mean and a reciprocal deviation of each of n features.
type scaling struct{ mean, scale []float32 }

// standardise measures n features over the examples of the given clips; value i of an
// example belongs to feature i modulo n.
//
// Why deviations have a floor, a tenth of the typical one: a pixel that hardly ever
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

// project standardises each feature and, where there are more than maxComponents,
// replaces them by principal components. Both are computed from the given clips.
// Components keep their relative size, and together have a mean square of 1.
func project(f Field, clips []int, views int, r *philox.Stream) (vectors, error) {
	d := f.size()
	s := standardise(f, d, clips, views)
	n := len(f.Data) / d
	if d <= maxComponents {
		out := vectors{d, make([]float32, len(f.Data))}
		for i := range n {
			s.apply(out.row(i), f.row(i))
		}
		return out, nil
	}
	some := min(maxComponents, len(clips)*views)
	rows := make([]float32, some*d)
	for k, at := range r.Perm(len(clips) * views)[:some] {
		s.apply(rows[k*d:][:d], f.row(clips[at/views]*views+at%views))
	}
	gram := make([]float32, some*some)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, nn.Matrix(some, d, rows), nn.Matrix(some, d, rows), 0, nn.Matrix(some, some, gram))
	basis, rank, err := eigen(gram, some)
	if err != nil {
		return vectors{}, err
	}
	if rank == 0 { // every example is the same
		return vectors{1, make([]float32, n)}, nil
	}
	axes := make([]float32, rank*d)
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, nn.Matrix(rank, some, basis), nn.Matrix(some, d, rows), 0, nn.Matrix(rank, d, axes))
	out := vectors{rank, make([]float32, n*rank)}
	const block = 64
	scaled := make([]float32, block*d)
	for from := 0; from < n; from += block {
		m := min(block, n-from)
		for k := range m {
			s.apply(scaled[k*d:][:d], f.row(from+k))
		}
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, nn.Matrix(m, d, scaled), nn.Matrix(rank, d, axes), 0, nn.Matrix(m, rank, out.data[from*rank:]))
	}
	square := 0.
	for _, c := range clips {
		for _, x := range out.row(c * views) {
			square += float64(x) * float64(x) / float64(len(clips)*rank)
		}
	}
	if square > 0 {
		for i := range out.data {
			out.data[i] *= float32(1 / math.Sqrt(square))
		}
	}
	return out, nil
}

// eigen gives the eigenvectors of a Gram matrix [n,n] as rows, those of the largest
// eigenvalues first, each divided by the root of its eigenvalue. Those whose eigenvalue
// is a rounding error are left out.
func eigen(gram []float32, n int) (rows []float32, rank int, err error) {
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
		rank++
	}
	return rows, rank, nil
}

func distance(a, b []float32) float64 {
	var s float32
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return float64(s)
}

// centroids predicts the class with the nearest mean.
func centroids(v vectors, in, labels []int, views, classes int, out []int) (predicted []int) {
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
		best, least := 0, math.Inf(1)
		for c := range classes {
			if d := distance(v.row(o*views), mean[c*v.dim:][:v.dim]); d < least {
				best, least = c, d
			}
		}
		predicted = append(predicted, best)
	}
	return predicted
}

// nearest predicts the class of the nearest example.
func nearest(v vectors, in, labels []int, views int, out []int) (predicted []int) {
	for _, o := range out {
		best, least := 0, math.Inf(1)
		for _, c := range in {
			for k := range views {
				if d := distance(v.row(o*views), v.row(c*views+k)); d < least {
					best, least = labels[c], d
				}
			}
		}
		predicted = append(predicted, best)
	}
	return predicted
}
