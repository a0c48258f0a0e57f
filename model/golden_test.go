package model

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// tally counts what was compared in a kind of cases.
type tally struct{ cases, tensors, values, outliers int }

// tooFar is how many times its limit no rounding takes a value.
const tooFar = 20

// TestGolden compares every golden file with what graph, machine and CPU backend
// compute: outputs, codes, losses, gradients, optimizer traces, training curves,
// checkpoints. MAGVIT_GOLDEN names another folder of such files.
//
// A file's limit is ten times (its square root for squared errors) one sample of the
// package's own rounding error. Other roundings draw another sample, and where a
// tensor's error depends on a single value, as with LFQ's entropies, whose slope is
// 400, or where the package's sample happened to be small, a right one may stray. What
// strays is computed again with other roundings, see roundings, and must lie within its
// limit with one of them. A mistake does so with none. One in the backend's own kernels
// is not excused by others, since straying tooFar is an error in any case.
func TestGolden(t *testing.T) {
	first, others := roundings(t)
	compareGolden(t, first, others, func(string) bool { return true })
}

// compareGolden does so with the files of wanted names.
func compareGolden(t *testing.T, first rounding, others []rounding, wanted func(name string) bool) {
	// In the test, not in a variable of the package: go test then knows that its result
	// hangs on the environment.
	dir := cmp.Or(os.Getenv("MAGVIT_GOLDEN"), "../testdata/golden")
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	check(t, err)
	if len(files) == 0 {
		t.Fatalf("no golden files in %s", dir)
	}
	counts := map[string]*tally{}
	var skipped, outliers []string
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".safetensors")
		if !wanted(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := run(t, path, first)
			n := counts[g.Kind]
			if n == nil {
				n = &tally{}
				counts[g.Kind] = n
			}
			skipped = append(skipped, g.skipped...)
			if g.tensors > 0 {
				n.cases, n.tensors, n.values, n.outliers = n.cases+1, n.tensors+g.tensors, n.values+g.values, n.outliers+len(g.outliers)
			}
			far := maps.Clone(g.outliers)
			for _, r := range others {
				if len(far) == 0 {
					break
				}
				again := run(t, path, r)
				maps.DeleteFunc(far, func(name string, _ outlier) bool { return again.outliers[name].times == 0 })
			}
			for _, name := range slices.Sorted(maps.Keys(g.outliers)) {
				s := g.outliers[name]
				if _, always := far[name]; always || s.times > tooFar {
					t.Errorf("%s: %v", name, s)
				}
				outliers = append(outliers, fmt.Sprintf("%s %s: %.3g times", g.Name, name, s.times))
			}
		})
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		n := counts[kind]
		t.Logf("%-13s %3d cases, %5d tensors, %7d values compared, %d tensors within the file's limit with other roundings only", kind, n.cases, n.tensors, n.values, n.outliers)
	}
	for _, s := range outliers {
		t.Log("within its limit with other roundings only:", s)
	}
	for _, s := range skipped {
		t.Log("skipped:", s)
	}
}

// run computes one file's case.
func run(t *testing.T, path string, r rounding) *golden {
	t.Helper()
	g := readGolden(t, path)
	g.be = r.be
	r.nudge(g)
	switch g.Kind {
	case "layer":
		g.layer()
	case "quantizer":
		g.quantizer()
	case "tokenizer":
		g.tokenizer()
	case "training":
		g.training()
	case "optimizer":
		g.optimizer()
	case "checkpoint":
		g.checkpoint()
	case "discriminator":
		g.discriminator()
	default:
		t.Fatalf("unknown kind %q", g.Kind)
	}
	g.finish()
	return g
}

// golden is one file.
type golden struct {
	Name, Kind, Op string
	Config         map[string]any
	Inputs         map[string][]int
	Options        map[string]any
	Order          []string              `json:"optimizer_order"`
	Tolerance      map[string][]*float64 // abs, nmse, measured ones
	PerStep        map[string][]float64  `json:"tolerance_per_step"`
	Network        string
	Weights        struct {
		Kind string
		Seed uint64
	}
	Stored []storedParam `json:"params"`

	t               *testing.T
	be              kernels.Backend
	tensors, values int
	skipped         []string
	outliers        map[string]outlier // tensors beyond their limits
	all             map[string]array
	used            map[string]bool // option:, config: and tensor names that were looked at
}

// outlier is how far a tensor is beyond its limit, and where most.
type outlier struct {
	times     float64
	at        int
	got, want float32
	nmse      float64
}

func (s outlier) String() string {
	return fmt.Sprintf("%.3g times as far as its limit allows; the largest difference is at %d: %g, want %g; squared error %.3g of the values' power", s.times, s.at, s.got, s.want, s.nmse)
}

// array is a tensor of a golden file, in its order.
type array struct {
	shape  []int
	values []float32
	ints   []int64 // of an integer tensor; values has the same numbers
}

func readGolden(t *testing.T, path string) *golden {
	t.Helper()
	raw, err := os.ReadFile(path)
	check(t, err)
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]json.RawMessage
	check(t, json.Unmarshal(raw[8:8+n], &header))
	var meta struct{ Case string }
	check(t, json.Unmarshal(header["__metadata__"], &meta))
	g := &golden{t: t, all: map[string]array{}, used: map[string]bool{}, outliers: map[string]outlier{}}
	check(t, json.Unmarshal([]byte(meta.Case), g))
	delete(header, "__metadata__")
	for name, text := range header {
		var h struct {
			Dtype   string
			Shape   []int
			Offsets [2]uint64 `json:"data_offsets"`
		}
		check(t, json.Unmarshal(text, &h))
		data := raw[8+n+h.Offsets[0] : 8+n+h.Offsets[1]]
		a := array{shape: h.Shape}
		switch h.Dtype {
		case "F32":
			for ; len(data) > 0; data = data[4:] {
				a.values = append(a.values, math.Float32frombits(binary.LittleEndian.Uint32(data)))
			}
		case "I32":
			for ; len(data) > 0; data = data[4:] {
				a.ints = append(a.ints, int64(int32(binary.LittleEndian.Uint32(data))))
			}
		case "I64":
			for ; len(data) > 0; data = data[8:] {
				a.ints = append(a.ints, int64(binary.LittleEndian.Uint64(data)))
			}
		default:
			t.Fatalf("%s is %s", name, h.Dtype)
		}
		for _, v := range a.ints {
			a.values = append(a.values, float32(v))
		}
		g.all[name] = a
	}
	return g
}

// given says whether a tensor is to be fed in.
func given(name string) bool {
	return strings.HasPrefix(name, "param.") || strings.HasPrefix(name, "in.") || strings.HasPrefix(name, "cotangent.")
}

// take is a tensor of the file.
func (g *golden) take(name string) array {
	g.t.Helper()
	a, ok := g.all[name]
	if !ok {
		g.t.Fatalf("the file has no %s", name)
	}
	g.used[name] = true
	return a
}

func (g *golden) has(name string) bool { _, ok := g.all[name]; return ok }

// names lists the tensors with this prefix, which is cut off.
func (g *golden) names(prefix string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(g.all)) {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// skip leaves out the tensors that match, with the reason.
func (g *golden) skip(pattern, why string) {
	n := 0
	for name := range g.all {
		if ok, _ := filepath.Match(pattern, name); ok && !given(name) && !g.used[name] {
			g.used[name] = true
			n++
		}
	}
	if n > 0 || pattern == "*" {
		g.skipped = append(g.skipped, fmt.Sprintf("%s: %d tensors %s: %s", g.Name, n, pattern, why))
	}
}

// finish reports what was not compared or looked at.
func (g *golden) finish() {
	if g.t.Failed() || slices.ContainsFunc(g.skipped, func(s string) bool { return strings.Contains(s, " tensors *: ") }) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(g.all)) {
		if !g.used[name] && name != "codes.margin" {
			g.t.Errorf("nothing was done with %s", name)
		}
	}
	drawing := []string{"latent_std", "x_scale", "margin", "min_codes", "drift", "attempts", "jitters", "scale_rows", "not_square", "x_values"}
	for _, name := range slices.Sorted(maps.Keys(g.Options)) {
		if !g.used["option:"+name] && !slices.Contains(drawing, name) {
			g.t.Errorf("option %s = %v is unknown", name, g.Options[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Config)) {
		if !g.used["config:"+name] {
			g.t.Errorf("configuration %s = %v is unknown", name, g.Config[name])
		}
	}
	if g.tensors == 0 {
		g.t.Error("nothing was compared")
	}
}

// option sets *dst from the case's options, if it is there and not null.
func (g *golden) option(name string, dst any) {
	g.t.Helper()
	g.used["option:"+name] = true
	g.set("option "+name, g.Options[name], dst)
}

// config sets *dst likewise from the constructor's arguments.
func (g *golden) config(name string, dst any) {
	g.t.Helper()
	g.used["config:"+name] = true
	g.set("configuration "+name, g.Config[name], dst)
}

func (g *golden) set(what string, v, dst any) {
	g.t.Helper()
	if v == nil {
		return
	}
	text, err := json.Marshal(v)
	check(g.t, err)
	if err := json.Unmarshal(text, dst); err != nil {
		g.t.Fatalf("%s: %v: %v", what, v, err)
	}
}

// must says that an argument is known with these values only.
func (g *golden) must(name string, legal ...any) {
	g.t.Helper()
	g.used["config:"+name] = true
	v, ok := g.Config[name]
	if ok && !slices.Contains(legal, v) {
		g.t.Fatalf("configuration %s = %v: known with %v only", name, v, legal)
	}
}

func (g *golden) number(name string, otherwise float64) float64 {
	g.config(name, &otherwise)
	return otherwise
}

func (g *golden) size(name string, otherwise int) int {
	g.config(name, &otherwise)
	return otherwise
}

func (g *golden) flag(name string) (on bool) {
	g.config(name, &on)
	return on
}

// compare holds computed values, in the file's order, against a tensor and its limits.
func (g *golden) compare(name string, got []float32) {
	g.t.Helper()
	want := g.take(name)
	limits, ok := g.Tolerance[name]
	if !ok || len(limits) < 2 || limits[0] == nil {
		g.t.Errorf("%s has no tolerance", name)
		return
	}
	abs, nmse := *limits[0], limits[1]
	if name == "loss.aux" || name == "loss.total" {
		abs, nmse = max(abs, g.bit()), nil
	}
	g.within(name, got, want.values, func(int) float64 { return abs }, nmse)
}

// bit is the last bit in float32 of the file's largest loss: a sum of such terms, which
// may almost cancel, is not known better.
func (g *golden) bit() float64 {
	largest := float32(0)
	for name, a := range g.all {
		if strings.HasPrefix(name, "loss.") && len(a.values) == 1 {
			largest = max(largest, a.values[0], -a.values[0])
		}
	}
	return float64(math.Nextafter32(largest, float32(math.Inf(1))) - largest)
}

// certain is an entropy that says no more than that one probability is 1 in float32.
// What it is exactly is an accident of how the others are added up.
const certain = 1.0 / (1 << 24)

// within compares values; nmse may be nil.
func (g *golden) within(name string, got, want []float32, abs func(i int) float64, nmse *float64) {
	g.t.Helper()
	if len(got) != len(want) {
		g.t.Errorf("%s has %d values, want %d", name, len(got), len(want))
		return
	}
	g.tensors, g.values = g.tensors+1, g.values+len(want)
	if strings.HasSuffix(name, "entropy") && len(want) == 1 && max(got[0], want[0]) < certain {
		return
	}
	var squares, power float64
	var s outlier
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		squares, power = squares+d*d, power+float64(w)*float64(w)
		times := d / abs(i)
		if d == 0 {
			times = 0
		} else if math.IsNaN(times) {
			times = math.Inf(1)
		}
		if times > s.times {
			s.times, s.at, s.got, s.want = times, i, got[i], w
		}
	}
	if s.nmse = squares / power; nmse != nil && squares > 0 {
		s.times = max(s.times, math.Sqrt(s.nmse / *nmse))
	}
	if s.times > 1 {
		g.outliers[name] = s
	}
}

// compareCodes holds codes against the file's, which must be equal.
func (g *golden) compareCodes(got []float32) {
	g.t.Helper()
	want := g.take("codes")
	if len(got) != len(want.ints) {
		g.t.Errorf("%d codes, want %d", len(got), len(want.ints))
		return
	}
	g.tensors, g.values = g.tensors+1, g.values+len(got)
	for i, k := range want.ints {
		if got[i] != float32(k) {
			g.t.Errorf("code %d is %v, want %d", i, got[i], k)
			return
		}
	}
}
