package quality

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"magvit/trainer/metrics"
)

// moments are the mean and the covariance of vectors that come one by one. They are held in
// float64, whatever the number of vectors.
type moments struct {
	n       int
	mean    []float64
	scatter *mat.SymDense // sum of outer products of deviations from the mean
	block   []float64     // rows that are not counted yet
	all     []float64     // every vector, as long as there are no more than features
}

// blockRows is the number of vectors that are counted together.
const blockRows = 64

func (m *moments) add(v []float32) error {
	if m.mean == nil {
		m.mean, m.scatter = make([]float64, len(v)), mat.NewSymDense(len(v), nil)
	}
	if len(v) != len(m.mean) {
		return fmt.Errorf("a vector of %d features after vectors of %d", len(v), len(m.mean))
	}
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("feature %d is %v", i, x)
		}
		m.block = append(m.block, float64(x))
	}
	if d := len(v); m.n+len(m.block)/d <= d {
		m.all = append(m.all, m.block[len(m.block)-d:]...)
	} else {
		m.all = nil
	}
	if len(m.block) == blockRows*len(v) {
		m.flush()
	}
	return nil
}

// flush counts the block by the rule of Chan, Golub, LeVeque (1979) for two samples.
func (m *moments) flush() {
	d := len(m.mean)
	if len(m.block) == 0 {
		return
	}
	rows := len(m.block) / d
	mean := make([]float64, d)
	for i, x := range m.block {
		mean[i%d] += x / float64(rows)
	}
	for i := range m.block {
		m.block[i] -= mean[i%d]
	}
	m.scatter.SymRankK(m.scatter, 1, mat.NewDense(rows, d, m.block).T())
	delta := mat.NewVecDense(d, nil)
	total := m.n + rows
	for i := range mean {
		delta.SetVec(i, mean[i]-m.mean[i])
		m.mean[i] += delta.AtVec(i) * float64(rows) / float64(total)
	}
	m.scatter.SymRankOne(m.scatter, float64(m.n)*float64(rows)/float64(total), delta)
	m.n, m.block = total, m.block[:0]
}

// covariance is unbiased, divided by n-1.
func (m *moments) covariance() *mat.SymDense {
	m.flush()
	c := mat.NewSymDense(len(m.mean), nil)
	c.ScaleSym(1/float64(m.n-1), m.scatter)
	return c
}

// root is a matrix R [features,k] with R·R' = the covariance, of as few columns as there are vectors.
//
// Why dense: gonum multiplies a triangular with a symmetric matrix value by value, which takes minutes at 2,048 features.
func (m *moments) root() (*mat.Dense, error) {
	if m.all == nil {
		return squareRoot(m.covariance())
	}
	m.flush()
	d := len(m.mean)
	by := 1 / math.Sqrt(float64(m.n-1))
	r := mat.NewDense(d, m.n, nil)
	for i, x := range m.all {
		r.Set(i%d, i/d, (x-m.mean[i%d])*by)
	}
	return r, nil
}

// frechetDistance is that of two normal distributions (Dowson, Landau 1982),
//
//	|mean1 - mean2|² + trace(C1 + C2 - 2·(C1·C2)^½)
//
// For any R1, R2 with C = R·R' the trace of the root of C1·C2 is the sum of the singular values of R1'·R2, and the trace of C is the
// sum of the squares of R. The singular values are the roots of the eigenvalues of the smaller Gram matrix of R1'·R2; eigenvalues
// below 0 are roundings and count as 0.
func frechetDistance(a, b *moments) (float64, error) {
	r1, err := a.root()
	if err != nil {
		return 0, err
	}
	r2, err := b.root()
	if err != nil {
		return 0, err
	}
	var product mat.Dense
	var gram mat.SymDense
	product.Mul(r1.T(), r2)
	if rows, columns := product.Dims(); rows <= columns {
		gram.SymOuterK(1, &product)
	} else {
		gram.SymOuterK(1, product.T())
	}
	values, ok := eigenvalues(mat.DenseCopyOf(&gram))
	if !ok {
		return 0, fmt.Errorf("the eigenvalues of a product of covariances of %d features do not converge", len(a.mean))
	}
	sum := squares(r1) + squares(r2)
	for _, v := range values {
		sum -= 2 * math.Sqrt(max(v, 0))
	}
	for i := range a.mean {
		sum += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i])
	}
	return sum, nil
}

// squares is the sum of the squares of a matrix.
func squares(m *mat.Dense) float64 { return floats.Dot(m.RawMatrix().Data, m.RawMatrix().Data) }

// squareRoot is a matrix R with R·R' = c: Cholesky's, or by the eigenvalues of a singular c.
func squareRoot(c mat.Symmetric) (*mat.Dense, error) {
	var root mat.Dense
	var cholesky mat.Cholesky
	if cholesky.Factorize(c) {
		var lower mat.TriDense
		cholesky.LTo(&lower)
		root.CloneFrom(&lower)
		return &root, nil
	}
	var of mat.EigenSym
	if !of.Factorize(c, true) {
		return nil, fmt.Errorf("the eigenvalues of a covariance of %d features do not converge", c.SymmetricDim())
	}
	var vectors mat.Dense
	of.VectorsTo(&vectors)
	values := of.Values(nil)
	root.Apply(func(_, j int, v float64) float64 { return v * math.Sqrt(max(values[j], 0)) }, &vectors)
	return &root, nil
}

// features turns a clip [t,h,w,c] into vectors, all of one length.
type features interface {
	each(clip []float32, t, h, w, c int, do func(vector []float32) error) error
}

// frechet is the distance between features of originals and of reconstructions. It has no interval: resamples
// repeat clips, which biases the distance, so that a bootstrap would not enclose the value.
type frechet struct {
	name, note      string
	of              features
	original, recon moments
}

func newFrechet(name, note string, of features) *frechet {
	return &frechet{name: name, note: note, of: of}
}

func (m *frechet) add(p Pair) error {
	if err := m.of.each(p.Original, p.T, p.H, p.W, p.C, m.original.add); err != nil {
		return err
	}
	return m.of.each(p.Recon, p.T, p.H, p.W, p.C, m.recon.add)
}

func (m *frechet) value() (Value, error) {
	v := Value{Name: m.name, Value: unknown, Low: unknown, High: unknown, Better: "lower", Note: m.note}
	m.original.flush()
	m.recon.flush()
	if m.original.n < 2 {
		v.Note = "needs two vectors of features or more; " + m.note
		return v, nil
	}
	d, err := frechetDistance(&m.original, &m.recon)
	v.Value = metrics.Number(d)
	if n := len(m.original.mean); m.original.n <= n {
		v.Note = fmt.Sprintf("%d vectors of %d features: the covariances are singular and the value depends on the number; %s", m.original.n, n, m.note)
	}
	return v, err
}

const pixelNote = "features without trained weights: comparable with nothing but values of this program on clips of this size"

// pixelFeatures are those of a frame without a trained network: its luminance, and the
// magnitude of the luminance's gradients, both as means over 8×8 cells.
type pixelFeatures struct{}

const cells = 8 // along each side

func (pixelFeatures) each(clip []float32, t, h, w, c int, do func([]float32) error) error {
	if h < cells || w < cells {
		return fmt.Errorf("frames of %d×%d pixels: frechet-pixels wants at least %d×%d", h, w, cells, cells)
	}
	luma := make([]float32, h*w)
	for f := range t {
		frame := clip[f*h*w*c:][:h*w*c]
		for p := range luma {
			luma[p] = frame[p*c]
			if c == 3 {
				luma[p] = .299*frame[p*c] + .587*frame[p*c+1] + .114*frame[p*c+2]
			}
		}
		v := make([]float32, 2*cells*cells)
		var count [cells * cells]float32
		for y := range h {
			for x := range w {
				at := y*cells/h*cells + x*cells/w
				count[at]++
				v[at] += luma[y*w+x]
				if y+1 < h && x+1 < w {
					v[cells*cells+at] += float32(magnitude(luma, y*w+x, w, 1))
				}
			}
		}
		for i := range v {
			v[i] /= count[i%(cells*cells)]
		}
		if err := do(v); err != nil {
			return err
		}
	}
	return nil
}

// FrechetDistance is that of the normal distributions of two sets of vectors of one length,
// at least two of each.
func FrechetDistance(a, b [][]float32) (float64, error) {
	var m [2]moments
	for i, set := range [][][]float32{a, b} {
		if len(set) < 2 {
			return 0, fmt.Errorf("%d vectors: want two or more", len(set))
		}
		for _, v := range set {
			if err := m[i].add(v); err != nil {
				return 0, err
			}
		}
		m[i].flush()
	}
	if len(m[0].mean) != len(m[1].mean) {
		return 0, fmt.Errorf("vectors of %d and of %d features", len(m[0].mean), len(m[1].mean))
	}
	return frechetDistance(&m[0], &m[1])
}
