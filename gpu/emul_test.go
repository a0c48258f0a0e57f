//go:build emul && linux

package gpu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

func kind(s kernels.Spec) string {
	s, _ = kernels.Plain(s)
	return fmt.Sprintf("%T", s)[len("kernels."):]
}

// Every kernel passes the suite of all backends, and gives the same bits whatever the
// order of threads; without -short also in a second run, which finds what the first one left.
func TestKernelsMatchDefinitions(t *testing.T) { matchDefinitions(t, kernels.F32, kerneltest.Cases()) }

func matchDefinitions(t *testing.T, p kernels.Precision, cases []kerneltest.Case) {
	be := gpu.Emulated(emul.Open(emul.Forward), p)
	defer be.Close()
	others := []*gpu.Device{gpu.Emulated(emul.Open(emul.Reverse), p), gpu.Emulated(emul.Open(emul.Shuffled), p)}
	for _, other := range others {
		defer other.Close()
	}
	runs := 2 // of other orders
	if testing.Short() {
		runs = 1
	}
	for _, c := range cases {
		args := kerneltest.Arguments(c)
		want, err := kerneltest.OutputsOf(be, c, args, 2)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if r := kerneltest.Compare(want, c, p); !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
		for _, other := range others {
			got, err := kerneltest.OutputsOf(other, c, args, runs)
			if err != nil {
				t.Fatal(err)
			}
			for a := range got {
				if !slices.EqualFunc(got[a], want[a], sameBits) {
					t.Errorf("%v on %s: argument %d differs from that of threads in forward order", c, other.Name(), a)
				}
			}
		}
	}
}

func sameBits(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }

// Codebooks of the greatest size that configurations allow: no array of a kernel has a
// value for each token and code.
func TestManyCodes(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Shuffled), kernels.F32)
	defer be.Close()
	l := kernels.LFQ{Tokens: 3, Books: 1, Bits: 18}
	draw := map[string]kerneltest.Draw{"z": kerneltest.Normal(1), "dterms": kerneltest.Constant(.1, -.25, 1)}
	for _, s := range []kernels.Spec{
		kernels.LFQSign{LFQ: l}, kernels.LFQIndex{LFQ: l}, kernels.LFQLoss{LFQ: l, InvTemp: 1}, kernels.LFQLossGrad{LFQ: l, InvTemp: 1},
		kernels.LFQLossFloored{LFQ: l, InvTemp: 1}, kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: 1},
	} {
		c := kerneltest.Case{Spec: s, Tol: 1e-11, Why: "float32 sums over 2^18 codes", Draw: draw}
		if r, err := kerneltest.Check(be, c); err != nil || !r.OK {
			t.Errorf("%v: %v %v", c, r.Err, err)
		}
	}
}

// Parameters and their gradients begin anywhere in their arenas: what runs on parts of
// these takes eight values at once only where memory allows it.
func TestPartsOfArenas(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.F32)
	defer be.Close()
	const n, guard = 41, 8
	conv := kernels.Conv{N: 1, T: 2, H: 3, W: 4, C: 4, O: 8, KT: 1, KH: 2, KW: 2, ST: 1, SH: 1, SW: 1, DT: 1, PH: 1, PW: 1, Residual: true}
	plain := conv
	plain.Residual = false
	rows := kernels.Shuffle{N: 1, T: 1, H: 3, W: 1, C: 8, FT: 2, FH: 1, FW: 1, PhaseFirst: true} // of weights, in another order
	back := rows
	back.Down = true
	for _, s := range []kernels.Spec{conv, kernels.ConvGradX{Conv: conv}, kernels.ConvGradW{Conv: plain}, kernels.Add{Len: n}, kernels.Affine{Len: n, Mul: 2}, kernels.SumSquares{Len: n},
		kernels.Act{Kind: kernels.ELU, Len: n}, kernels.ActGrad{Kind: kernels.ELU, Len: n}, kernels.AdamW{Len: n}, kernels.SumRows{Rows: 3, C: n}, rows, back} {
		k, err := be.Prepare(s)
		check(t, err)
		want := kerneltest.Arguments(kerneltest.Case{Spec: s})
		for moved := range want {
			values := kerneltest.Arguments(kerneltest.Case{Spec: s})
			var whole, parts []kernels.Buffer
			for i, v := range values {
				b, err := be.Alloc(len(v) + guard)
				check(t, err)
				from := 0
				if i == moved {
					from = 1
				}
				part := b.Slice(from, from+len(v))
				check(t, be.Write(part, v))
				whole, parts = append(whole, b), append(parts, part)
			}
			k.Run(parts...)
			if err := be.Sync(); err != nil {
				t.Fatalf("%v with argument %d one value further: %v", kernels.Name(s), moved, err)
			}
			for i, p := range parts {
				check(t, be.Read(values[i], p))
				after := make([]float32, len(values[i])+guard)
				check(t, be.Read(after, whole[i]))
				if end := after[len(after)-guard+1:]; norm2(end) != 0 {
					t.Errorf("%v writes after argument %d", kernels.Name(s), i)
				}
			}
			if moved == 0 {
				copy(want, values)
			}
			for i := range values {
				if !slices.EqualFunc(values[i], want[i], sameBits) {
					t.Errorf("%v: argument %d differs with argument %d one value further", kernels.Name(s), i, moved)
				}
			}
		}
	}
}
