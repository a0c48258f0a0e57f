package probe

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"magvit/trainer/metrics"
	"magvit/trainer/probe/nn"
)

// Geometry describes the use of codes and the distances between clips' codes, without a classifier.
type Geometry struct {
	Use         metrics.Codes `json:"use"`
	Twins       int           `json:"twins"` // clips with exactly the codes of another clip
	Information Information   `json:"information"`
	Codes       Distances     `json:"codes"`  // between codes' embeddings
	Pixels      Distances     `json:"pixels"` // between shrunk pixels
	Map         Map           `json:"map"`
}

// Information is the mutual information, in bits, of a single code, at any position, and
// its clip's label. Estimated from few samples it is too large, so it has to be compared
// with that of shuffled labels.
type Information struct {
	Bits         metrics.Number `json:"bits"`
	Shuffled     metrics.Number `json:"shuffled"`      // mean over permutations of the labels
	ShuffledHigh metrics.Number `json:"shuffled_high"` // the largest of them
	Most         metrics.Number `json:"most"`          // the labels' own entropy
}

// Distances are mean Euclidean distances between clips of the same class and of
// different classes.
type Distances struct {
	Within  metrics.Number `json:"within"`
	Between metrics.Number `json:"between"`
	Ratio   metrics.Number `json:"ratio"` // between/within: 1 is no separation; null where all clips are the same
}

// Map is the clips' codes on their first two principal components.
type Map struct {
	Explained [2]metrics.Number `json:"explained"` // fraction of the variance
	Names     []string          `json:"names"`
	Labels    []int             `json:"labels"` // index of Classes
	Points    [][2]float64      `json:"points"`
	Centroids [][2]float64      `json:"centroids"` // of each class
}

const (
	maxPairs     = 400 // clips, evenly spread, that are mapped and between which distances are measured
	permutations = 19  // of the labels: the largest of 19 is exceeded by chance once in twenty times
)

func (s *Set) geometry(labels []int, classes int, seed uint64) (g Geometry, err error) {
	if g.Use, err = s.codeUse(); err != nil {
		return g, err
	}
	count := map[string]int{}
	for _, k := range s.grids {
		count[string(k)]++
	}
	for _, n := range count {
		if n > 1 {
			g.Twins += n
		}
	}
	g.Information = s.information(labels, classes, seed)

	var some []int
	n := min(len(labels), maxPairs)
	for k := range n {
		some = append(some, k*len(labels)/n)
	}
	g.Codes, g.Pixels = s.distances(s.codes, some, labels), s.distances(s.pixels, some, labels)
	g.Map, err = s.mapped(some, labels, classes)
	return g, err
}

func (s *Set) information(labels []int, classes int, seed uint64) (i Information) {
	per := len(s.raw) / len(labels)
	var counts []int
	for _, l := range labels {
		for len(counts) <= l {
			counts = append(counts, 0)
		}
		counts[l] += per
	}
	i.Most = metrics.Number(entropy(counts, len(s.raw)))
	i.Bits = metrics.Number(mutual(s.raw, per, labels, classes))
	for k := range permutations {
		b := metrics.Number(mutual(s.raw, per, shuffled(labels, seed, k), classes))
		i.Shuffled += b / permutations
		i.ShuffledHigh = max(i.ShuffledHigh, b)
	}
	return i
}

// mutual is H(code) + H(label) - H(code, label) in bits.
func mutual(codes []int32, per int, labels []int, classes int) float64 {
	joint := map[int32][]int{}
	of := make([]int, classes)
	for k, c := range codes {
		if joint[c] == nil {
			joint[c] = make([]int, classes)
		}
		joint[c][labels[k/per]]++
		of[labels[k/per]]++
	}
	var single, both []int
	for _, c := range slices.Sorted(maps.Keys(joint)) {
		sum := 0
		for _, n := range joint[c] {
			sum += n
		}
		single, both = append(single, sum), append(both, joint[c]...)
	}
	n := len(codes)
	return max(entropy(single, n)+entropy(of, n)-entropy(both, n), 0)
}

func entropy(counts []int, total int) (bits float64) {
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(total)
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

func (s *Set) distances(f Field, clips, labels []int) (d Distances) {
	var sum, pairs [2]float64
	for i, a := range clips {
		for _, b := range clips[:i] {
			k := 0
			if labels[a] != labels[b] {
				k = 1
			}
			sum[k] += math.Sqrt(distance(f.row(a*s.Views), f.row(b*s.Views)))
			pairs[k]++
		}
	}
	within, between := sum[0]/pairs[0], sum[1]/pairs[1]
	d.Within, d.Between, d.Ratio = metrics.Number(within), metrics.Number(between), metrics.Number(math.NaN())
	if within > 0 {
		d.Ratio = metrics.Number(between / within)
	}
	return d
}

func (s *Set) mapped(clips, labels []int, classes int) (m Map, err error) {
	n, d := len(clips), s.codes.size()
	rows, mean := make([]float32, 0, n*d), make([]float32, d)
	for _, c := range clips {
		row := s.codes.row(c * s.Views)
		rows = append(rows, row...)
		for i, x := range row {
			mean[i] += x / float32(n)
		}
	}
	total := 0.
	for i := range rows {
		rows[i] -= mean[i%d]
		total += float64(rows[i]) * float64(rows[i])
	}
	gram := make([]float32, n*n)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, nn.Matrix(n, d, rows), nn.Matrix(n, d, rows), 0, nn.Matrix(n, n, gram))
	basis, rank, err := eigen(gram, n)
	if err != nil {
		return m, err
	}
	m.Points, m.Centroids = make([][2]float64, n), make([][2]float64, classes)
	count := make([]float64, classes)
	for k := range min(rank, 2) {
		axis := basis[k*n:][:n]
		// A row of basis is u/√λ; a clip's coordinate is √λ·u.
		norm := 0.
		for _, v := range axis {
			norm += float64(v) * float64(v)
		}
		if total > 0 {
			m.Explained[k] = metrics.Number(1 / norm / total)
		}
		for i, v := range axis {
			m.Points[i][k] = float64(v) / norm
		}
	}
	for i, c := range clips {
		m.Names, m.Labels = append(m.Names, s.Names[c]), append(m.Labels, labels[c])
		count[labels[c]]++
		for k := range 2 {
			m.Centroids[labels[c]][k] += m.Points[i][k]
		}
	}
	for c, n := range count {
		for k := range 2 {
			m.Centroids[c][k] /= max(n, 1)
		}
	}
	return m, nil
}
