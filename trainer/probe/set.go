package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// Field holds one kind of feature of all examples: N blocks [T,H,W,C]. An example
// is a view of a clip; clip i's views are the examples i*Views .. i*Views+Views-1,
// the first of them the clip as it is.
type Field struct {
	T, H, W, C int
	Data       []float32 // [N,T,H,W,C]
}

func (f Field) size() int            { return f.T * f.H * f.W * f.C }
func (f Field) row(n int) []float32  { return f.Data[n*f.size():][:f.size()] }
func (f Field) empty() bool          { return len(f.Data) == 0 }
func (f Field) at(t, y, x int) int   { return ((t*f.H+y)*f.W + x) * f.C }
func (f Field) shape() [4]int        { return [4]int{f.T, f.H, f.W, f.C} }
func (f *Field) add(block []float32) { f.Data = append(f.Data, block...) }

// Codebook describes the codes: their digits, and their vectors if they are learned.
type Codebook struct {
	Size    int
	Levels  []int     // values of each digit, the first varying fastest; nil: the bits of the index
	Vectors []float32 // [codebooks,Size,dim] of a learned codebook; nil: digits are all there is to a code
	Dim     int       // of Vectors
}

// digits is the number of digits.
func (b Codebook) digits() int {
	if len(b.Levels) > 0 {
		return len(b.Levels)
	}
	n := 0
	for 1<<n < b.Size {
		n++
	}
	return n
}

// levels is the number of values of digit d.
func (b Codebook) levels(d int) int {
	if len(b.Levels) > 0 {
		return b.Levels[d]
	}
	return 2
}

// width is the number of values of a code's embedding.
func (b Codebook) width() int {
	if b.Vectors != nil {
		return b.Dim
	}
	return b.digits()
}

// embed appends the embedding of a code of a codebook: its vector, scaled so that the
// largest value of all vectors is 1, or its digits, spread evenly over [-1,1]. The
// decoder's input is the same up to a scale, of each digit.
func (b Codebook) embed(dst []float32, book int, code int32) []float32 {
	if b.Vectors != nil {
		return append(dst, b.Vectors[(book*b.Size+int(code))*b.Dim:][:b.Dim]...)
	}
	c := int(code)
	for d := range b.digits() {
		level := b.levels(d)
		dst = append(dst, 2*float32(c%level)/float32(level-1)-1)
		c /= level
	}
	return dst
}

// scaled is the codebook with vectors whose largest value is 1.
func (b Codebook) scaled() Codebook {
	largest := float32(0)
	for _, v := range b.Vectors {
		largest = max(largest, v, -v)
	}
	if b.Vectors != nil && largest > 0 {
		b.Vectors = slices.Clone(b.Vectors)
		for i := range b.Vectors {
			b.Vectors[i] /= largest
		}
	}
	return b
}

// Example is a view of a labelled clip with its codes.
type Example struct {
	Video      []float32 // [T,H,W,C] in [0,1]
	T, H, W, C int
	Codes      []int32 // [T',H',W',codebooks]
	CodeShape  [4]int
	Latents    []float32 // [T',H',W',dims] before quantization, or nil
	Name       string
	Label      int
}

// Set gathers labelled clips.
type Set struct {
	Classes    []string // names of the labels
	Codebook   Codebook
	Views      int         // examples of a clip
	Names      []string    // [clips]
	Labels     []int       // [clips]
	Duplicates []Duplicate // clips that were left out

	codes, latents, pixels Field
	motion                 []path     // [examples], measured
	side                   [2]float64 // of a frame, the longer being 1
	raw                    []int32    // codes of the first views, for the histogram
	grids                  [][]byte   // [clips] the first views' codes, to compare clips by
	seen                   map[[32]byte]int
}

// Duplicate is a clip with exactly the pixels of another. It is left out, because a
// clip that was fitted on would otherwise be tested.
type Duplicate struct {
	Name       string `json:"name"`
	Of         string `json:"of"`
	OtherLabel bool   `json:"other_label,omitempty"` // the two have different labels
}

// NewSet is an empty set of clips, each in the given number of views.
func NewSet(classes []string, book Codebook, views int) *Set {
	return &Set{Classes: classes, Codebook: book.scaled(), Views: views, seen: map[[32]byte]int{}}
}

// Add appends a clip in all its views. A clip without a label is an error; one with the
// pixels of an earlier clip is recorded in Duplicates and left out.
func (s *Set) Add(views []Example) error {
	if len(views) != s.Views {
		return fmt.Errorf("probe: %d views of a clip: want %d", len(views), s.Views)
	}
	first := views[0]
	if first.Label < 0 {
		return fmt.Errorf("probe: clip %s has no label", first.Name)
	}
	key := fingerprint(first)
	if of, ok := s.seen[key]; ok {
		s.Duplicates = append(s.Duplicates, Duplicate{first.Name, s.Names[of], s.Labels[of] != first.Label})
		return nil
	}
	s.seen[key] = len(s.Names)
	s.Names, s.Labels = append(s.Names, first.Name), append(s.Labels, first.Label)
	var grid []byte
	for _, c := range first.Codes {
		grid = binary.LittleEndian.AppendUint32(grid, uint32(c))
	}
	s.raw, s.grids = append(s.raw, first.Codes...), append(s.grids, grid)
	for _, e := range views {
		if err := s.example(e); err != nil {
			return fmt.Errorf("probe: clip %s: %w", e.Name, err)
		}
	}
	return nil
}

func (s *Set) example(e Example) error {
	for i, c := range e.Codes {
		if c < 0 || int(c) >= s.Codebook.Size {
			return fmt.Errorf("code %d is %d: must be in [0,%d)", i, c, s.Codebook.Size)
		}
	}
	d := e.CodeShape
	codes := Field{T: d[0], H: d[1], W: d[2], C: d[3] * s.Codebook.width()}
	for i, c := range e.Codes {
		codes.Data = s.Codebook.embed(codes.Data, i%d[3], c)
	}
	pixels := cells(e)
	latents := Field{T: d[0], H: d[1], W: d[2], C: len(e.Latents) / max(d[0]*d[1]*d[2], 1), Data: e.Latents}
	for _, f := range []struct{ all, one *Field }{{&s.codes, &codes}, {&s.pixels, &pixels}, {&s.latents, &latents}} {
		if f.all.empty() {
			f.all.T, f.all.H, f.all.W, f.all.C = f.one.T, f.one.H, f.one.W, f.one.C
		}
		if f.all.shape() != f.one.shape() || len(f.one.Data) != f.one.size() {
			return fmt.Errorf("features %v with %d values: want %v, as the clips before have", f.one.shape(), len(f.one.Data), f.all.shape())
		}
		f.all.add(f.one.Data)
	}
	long := float64(max(e.H, e.W))
	s.motion, s.side = append(s.motion, track(e)), [2]float64{float64(e.W) / long, float64(e.H) / long}
	return nil
}

func fingerprint(e Example) [32]byte {
	b := make([]byte, 0, 4*len(e.Video)+16)
	for _, n := range []int{e.T, e.H, e.W, e.C} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, v := range e.Video {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return sha256.Sum256(b)
}

const (
	pixelSide = 16 // to which the longer side of a frame is shrunk
	cellSide  = 2  // shrunk pixels along a cell's side
)

// cells shrinks frames by averaging areas and gathers 2 by 2 of the small pixels
// into a cell with 4·C channels: [T,H,W,C] becomes about [T,8,8,4·C].
func cells(e Example) Field {
	scale := float64(pixelSide) / float64(max(e.H, e.W))
	side := func(n int) int {
		return max(1, int(math.Round(float64(n)*min(scale, 1)/cellSide)))
	}
	f := Field{T: e.T, H: side(e.H), W: side(e.W), C: cellSide * cellSide * e.C}
	h, w := f.H*cellSide, f.W*cellSide
	f.Data = make([]float32, f.size())
	for t := range e.T {
		for y := range h {
			y0, y1 := y*e.H/h, max((y+1)*e.H/h, y*e.H/h+1)
			for x := range w {
				x0, x1 := x*e.W/w, max((x+1)*e.W/w, x*e.W/w+1)
				at := f.at(t, y/cellSide, x/cellSide) + (y%cellSide*cellSide+x%cellSide)*e.C
				for c := range e.C {
					sum := float32(0)
					for yy := y0; yy < y1; yy++ {
						for xx := x0; xx < x1; xx++ {
							sum += e.Video[((t*e.H+yy)*e.W+xx)*e.C+c]
						}
					}
					f.Data[at+c] = sum / float32((y1-y0)*(x1-x0))
				}
			}
		}
	}
	return f
}

// minPerClass is the number of clips that a class needs to be split: one to test on,
// one for early stopping and two to fit on.
const minPerClass = 4

// presentClasses lists the classes that have clips, and numbers the clips' labels by
// that list.
func (s *Set) presentClasses() (names []string, labels []int, err error) {
	count := map[int]int{}
	highest := -1
	for _, l := range s.Labels {
		count[l]++
		highest = max(highest, l)
	}
	if len(count) < 2 {
		return nil, nil, usage.Errorf("probe: %d clips of %d classes: at least two classes are needed (labels come from the .npz's labels, or from sub-folders' names)", len(s.Labels), len(count))
	}
	number := map[int]int{}
	for l := range highest + 1 {
		if count[l] == 0 {
			continue
		}
		name := fmt.Sprintf("class %d", l)
		if l < len(s.Classes) {
			name = s.Classes[l]
		}
		if count[l] < minPerClass {
			return nil, nil, usage.Errorf("probe: class %s has %d clips: at least %d are needed, for fitting, early stopping and testing", name, count[l], minPerClass)
		}
		number[l] = len(names)
		names = append(names, name)
	}
	for _, l := range s.Labels {
		labels = append(labels, number[l])
	}
	return names, labels, nil
}

// codeUse measures the histogram of the clips' codes.
func (s *Set) codeUse() (metrics.Codes, error) {
	return metrics.CodeUse(s.raw, s.Codebook.Size, s.Codebook.Levels)
}
