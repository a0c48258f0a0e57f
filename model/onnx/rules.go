package onnx

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"magvit/kernels"
	"magvit/model/onnx/onnxpb"
)

// rule writes one kernel.
type rule struct {
	// write adds the operators. y is the shape of the result, for the batch that the graph was built for: only sizes that no
	// batch changes may be taken from it and from the Spec. Values keep the kernels' layout, [N,T,H,W,C].
	write func(g *graph, s kernels.Spec, y []int, in []value) string
	// fields are those of the Spec that write knows. Others must be zero, as they were not there when it was written.
	fields []string
}

// understands returns an error for a Spec with a field that the rule does not know.
func (r rule) understands(s kernels.Spec) error {
	v := reflect.ValueOf(s)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !f.Anonymous && !slices.Contains(r.fields, f.Name) && !v.FieldByIndex(f.Index).IsZero() {
			return fmt.Errorf("onnx: the kernel %s with %s: %v has no form in ONNX here; rules in model/onnx are by kernel", typeName(s), f.Name, v.FieldByIndex(f.Index))
		}
	}
	return nil
}

// rules by type of Spec.
var rules = map[reflect.Type]rule{}

// add adds the rule of a kernel whose Spec has these fields.
func add[S kernels.Spec](fields string, f func(g *graph, s S, y []int, in []value) string) {
	rules[reflect.TypeFor[S]()] = rule{func(g *graph, s kernels.Spec, y []int, in []value) string { return f(g, s.(S), y, in) }, strings.Fields(fields)}
}

const convFields = "N T H W C O KT KH KW ST SH SW DT PT PH PW Act Residual"

func init() {
	add("Len Mul Add", func(g *graph, s kernels.Affine, _ []int, in []value) string {
		return g.scaled(in[0].name, float64(s.Mul), float64(s.Add))
	})
	add("Kind Len", func(g *graph, s kernels.Act, _ []int, in []value) string { return g.activation(s.Kind, in[0].name) })
	add("Len", func(g *graph, s kernels.Add, _ []int, in []value) string { return g.op("Add", in[0].name, in[1].name) })
	add("Len", func(g *graph, s kernels.Blend, _ []int, in []value) string {
		mix := g.op("Sigmoid", g.flat(in[2]))
		return g.op("Add", g.op("Mul", in[0].name, mix), g.op("Mul", in[1].name, g.op("Sub", g.float(1), mix)))
	})
	add(convFields, conv)
	add(convFields, modConv)
	add("N O Taps C Demod", func(g *graph, s kernels.Modulate, _ []int, in []value) string { return in[1].name }) // part of modConv
	add("N T H W C PT PH PW Mode After", pad)
	add("N T Inner P", func(g *graph, s kernels.PadFront, _ []int, in []value) string {
		return g.pad(g.clips(in[0]), "constant", []int{0, s.P, 0, 0, 0}, make([]int, 5))
	})
	add("N T Inner From To", func(g *graph, s kernels.SliceTime, _ []int, in []value) string {
		to := s.To
		if to == s.T {
			to = last
		}
		return g.slice(g.clips(in[0]), 1, s.From, to)
	})
	add("N TA TB Inner", concatTime)
	add("N T H W C FT FH FW Down Act PhaseFirst", shuffle)
	add("N T P C Back", tokenShift)
	add("N T H W C Time Space", blur)
	add("N T Inner Kind Head", resample)
	add("N T Inner Size Reach Transposed", lap)
	add("Rows C Eps", func(g *graph, s kernels.LayerNorm, _ []int, in []value) string {
		return g.opWith("LayerNormalization", []attr{{"axis", -1}, {"epsilon", s.Eps}}, in[0].name, g.asIs(in[1]), g.asIs(in[2]))
	})
	add("N Rows C Groups Eps Adaptive Act", groupNorm)
	add("N Rows C Eps", channelStats)
	add("Rows C", func(g *graph, s kernels.RMSNorm, _ []int, in []value) string {
		return g.op("Mul", g.rms(in[0].name, s.C), g.asIs(in[1]))
	})
	add("N Rows C", func(g *graph, s kernels.AdaptiveRMSNorm, _ []int, in []value) string {
		return g.op("Mul", g.rms(g.clips(in[0]), s.C), g.clips(in[1]))
	})
	add("Rows C", func(g *graph, s kernels.Normalize, _ []int, in []value) string {
		x := g.reshape(g.clips(in[0]), 0, 0, 0, 0, -1, s.C)
		return g.reshape(g.op("Div", x, g.norm(x, 1e-12)), 0, 0, 0, 0, in[0].shape[4])
	})
	add("F P C", framePool)
	add("F P C Residual", func(g *graph, s kernels.FrameGate, _ []int, in []value) string {
		y := g.op("Mul", g.clips(in[0]), g.clips(in[1]))
		if s.Residual {
			y = g.op("Add", y, in[2].name)
		}
		return y
	})
	add("Rows C", func(g *graph, s kernels.GEGLU, _ []int, in []value) string {
		return g.op("Mul", g.slice(g.clips(in[0]), 4, 0, s.C), g.activation(kernels.GELU, g.slice(in[0].name, 4, s.C, 2*s.C)))
	})
	add("N T P Heads Dim Memory Over Causal", attention)
	add("F P Heads Dim", linearAttention)
	add("N T P C", gateLoop)
	add("Tokens Books Dims Levels", fsqIndex)
	add("Tokens Books Dims Levels", fsqValues)
	add("Tokens Books Bits LowFirst", lfqIndex)
	add("Tokens Books Bits LowFirst", lfqValues)
	add("Tokens Books Codes Dim", vqIndex)
	add("Tokens Books Codes Dim", vqValues)
}

// clips is the name of a value that must have the axes [N,T,H,W,C].
func (g *graph) clips(v value) string {
	if len(v.shape) != 5 && g.err == nil {
		return g.fail("onnx: a value of shape %v, where [N,T,H,W,C] is wanted", v.shape)
	}
	return v.name
}

func (g *graph) activation(k kernels.Activation, x string) string {
	switch k {
	case kernels.None:
		return x
	case kernels.ELU:
		return g.op("Elu", x)
	case kernels.SiLU:
		return g.op("Mul", x, g.op("Sigmoid", x))
	case kernels.LeakyReLU:
		return g.opWith("LeakyRelu", []attr{{"alpha", float32(.1)}}, x)
	case kernels.LeakyReLU5:
		return g.opWith("LeakyRelu", []attr{{"alpha", float32(.2)}}, x)
	case kernels.Sigmoid:
		return g.op("Sigmoid", x)
	case kernels.Tanh:
		return g.op("Tanh", x)
	case kernels.GELU: // x/2·(1 + erf(x/√2)); the operator Gelu came with opset 20
		return g.op("Mul", g.scaled(x, .5, 0), g.scaled(g.op("Erf", g.scaled(x, 1/math.Sqrt2, 0)), 1, 1))
	case kernels.SoftClamp:
		return g.scaled(g.op("Tanh", g.scaled(x, .1, 0)), 10, 0)
	}
	return g.fail("onnx: no operator for the activation %v", k)
}

// rms is x/max(‖x‖, 1e-12)·sqrt(C).
func (g *graph) rms(x string, c int) string {
	return g.scaled(g.op("Div", x, g.norm(x, 1e-12)), math.Sqrt(float64(c)), 0)
}

// point reports whether a convolution is a product with each pixel's channels.
func point(s kernels.Conv) bool {
	return s.KT*s.KH*s.KW*s.ST*s.SH*s.SW == 1 && s.PT == 0 && s.PH == 0 && s.PW == 0
}

// convolve is a convolution of x [N,T,H,W,C], without activation; bias may be "".
func (g *graph) convolve(s kernels.Conv, x, w, bias string) string {
	in := []string{g.transpose(x, 0, 4, 1, 2, 3), w}
	if bias != "" {
		in = append(in, bias)
	}
	y := g.opWith("Conv", []attr{{"kernel_shape", []int{s.KT, s.KH, s.KW}}, {"strides", []int{s.ST, s.SH, s.SW}}, {"dilations", []int{s.DT, 1, 1}},
		{"pads", []int{s.PT, s.PH, s.PW, 0, s.PH, s.PW}}}, in...)
	return g.transpose(y, 0, 2, 3, 4, 1)
}

func conv(g *graph, s kernels.Conv, _ []int, in []value) (y string) {
	x := in[0].name
	switch {
	case point(s):
		if len(in[0].shape) == 2 { // the vector of a clip
			x = g.reshape(x, -1, 1, 1, 1, s.C)
		}
		y = g.op("Add", g.op("MatMul", x, g.transposed(in[1], s.O, s.C)), g.flat(in[2]))
	default:
		y = g.convolve(s, g.clips(in[0]), g.channelsFirst(in[1], s), g.flat(in[2]))
	}
	y = g.activation(s.Act, y)
	if s.Residual {
		y = g.op("Add", y, in[3].name)
	}
	return y
}

// modConv is a product without bias, or a convolution whose weights are modulated for each clip: with input channels scaled
// by 1+s and, if demodulated, output channels divided by the norm of the scaled weights.
func modConv(g *graph, s kernels.ModConv, _ []int, in []value) string {
	x := g.clips(in[0])
	m := in[1].from
	if m == nil { // also a matrix that the network computes
		if !point(s.Conv) || s.N != 1 {
			return g.fail("onnx: ModConv: weights of each clip are a parameter; want those of Modulate")
		}
		w := g.transposed(in[1], s.O, s.C)
		if n := in[0].shape[4] / s.C; n > 1 { // a matrix for each s.C consecutive channels
			y := g.op("MatMul", g.reshape(x, 0, 0, 0, 0, n, s.C), w)
			return g.activation(s.Act, g.reshape(y, 0, 0, 0, 0, n*s.O))
		}
		return g.activation(s.Act, g.op("MatMul", x, w))
	}
	mod := m.spec.(kernels.Modulate)
	gain := g.scaled(g.clips(m.in[1]), 1, 1) // [N,1,1,1,C]
	w := g.channelsFirst(m.in[0], s.Conv)
	y := g.convolve(s.Conv, g.op("Mul", x, gain), w, "")
	if mod.Demod {
		squares := g.op("ReduceSum", g.op("Mul", w, w), g.ints(2, 3, 4)) // [O,C,1,1,1]
		power := g.op("MatMul", g.op("Mul", gain, gain), g.transpose(g.reshape(squares, s.O, s.C), 1, 0))
		y = g.op("Div", y, g.op("Sqrt", g.op("Max", power, g.float(1e-8))))
	}
	return g.activation(s.Act, y)
}

func pad(g *graph, s kernels.Pad, _ []int, in []value) string {
	x := g.clips(in[0])
	front, back := []int{0, s.PT, s.PH, s.PW, 0}, []int{0, 0, s.PH, s.PW, 0}
	if s.After {
		front[2], front[3] = 0, 0
	}
	switch s.Mode {
	case kernels.Zeros:
		return g.pad(x, "constant", front, back)
	case kernels.Replicate:
		return g.pad(x, "edge", front, back)
	case kernels.Reflect:
		return g.pad(x, "reflect", front, back)
	case kernels.Circular: // the mode wrap came with opset 19
		for axis := 1; axis < 4; axis++ {
			var parts []string
			if front[axis] > 0 {
				parts = append(parts, g.slice(x, axis, -front[axis], last))
			}
			parts = append(parts, x)
			if back[axis] > 0 {
				parts = append(parts, g.slice(x, axis, 0, back[axis]))
			}
			if len(parts) > 1 {
				x = g.concat(axis, parts...)
			}
		}
		return x
	}
	return g.fail("onnx: no operator for the padding %v", s.Mode)
}

func shuffle(g *graph, s kernels.Shuffle, _ []int, in []value) string {
	x := g.clips(in[0])
	factors := []int{1, s.FT, s.FH, s.FW}
	// The deep array is [N,T,H,W,C,FT,FH,FW], or [N,T,H,W,FT,FH,FW,C] with the phase first; the wide one
	// [N,T,FT,H,FH,W,FW,C]. Entry i of up is the axis of the deep array that is axis i of the wide one.
	deep, up := []int{0, 0, 0, 0, s.C, s.FT, s.FH, s.FW}, []int{0, 1, 5, 2, 6, 3, 7, 4}
	if s.PhaseFirst {
		deep, up = []int{0, 0, 0, 0, s.FT, s.FH, s.FW, s.C}, []int{0, 1, 4, 2, 5, 3, 6, 7}
	}
	var y string
	if s.Down {
		down := make([]int, 8)
		for i, axis := range up {
			down[axis] = i
		}
		small := g.op("Div", g.dims(x, 0, 4), g.ints(factors...))
		shape := g.op("Gather", g.concat(0, small, g.ints(s.FT, s.FH, s.FW, s.C)), g.ints(0, 1, 4, 2, 5, 3, 6, 7))
		y = g.reshape(g.transpose(g.op("Reshape", x, shape), down...), 0, 0, 0, 0, s.C*s.FT*s.FH*s.FW)
	} else {
		wide := g.op("Mul", g.dims(x, 0, 4), g.ints(factors...))
		y = g.reshapeTo(g.transpose(g.reshape(x, deep...), up...), wide, s.C)
	}
	return g.activation(s.Act, y)
}

// concatTime joins frames of clips, or rows of weights, whose clips are one.
func concatTime(g *graph, s kernels.ConcatTime, y []int, in []value) string {
	if len(y) == 2 && s.N == 1 {
		return g.concat(0, g.shaped(in[0], ".rows", s.TA, s.Inner), g.shaped(in[1], ".rows", s.TB, s.Inner))
	}
	return g.concat(1, g.clips(in[0]), g.clips(in[1]))
}

// lap is the product of the matrix and each block of values around a border; the outer halves of the first and last patch
// are left as they are.
func lap(g *graph, s kernels.Lap, _ []int, in []value) string {
	x := g.clips(in[0])
	if g.err != nil {
		return ""
	}
	axis := axisOf(in[0].shape, s.N, s.T, s.Inner)
	if axis == 0 || s.Transposed || s.Size != 2*s.Reach {
		return g.fail("onnx: %+v: want an axis of clips %v, all values of patches of an even size, and no transposed matrix", s, in[0].shape)
	}
	order := []int{0, 1, 2, 3, 4}
	order[axis], order[4] = 4, axis // an exchange, its own inverse
	blocks := g.reshape(g.transpose(g.slice(x, axis, s.Reach, -s.Reach), order...), 0, 0, 0, 0, -1, s.Size)
	filtered := g.reshape(g.op("MatMul", blocks, g.transposed(in[1], s.Size, s.Size)), 0, 0, 0, 0, -1)
	return g.concat(axis, g.slice(x, axis, 0, s.Reach), g.transpose(filtered, order...), g.slice(x, axis, -s.Reach, last))
}

func tokenShift(g *graph, s kernels.TokenShift, _ []int, in []value) string {
	x := g.clips(in[0])
	if s.Back {
		return g.fail("onnx: TokenShift backwards, which no inference has")
	}
	stay := (s.C + 1) / 2
	moved := g.pad(g.slice(x, 4, stay, last), "constant", []int{0, 1, 0, 0, 0}, make([]int, 5))
	return g.concat(4, g.slice(x, 4, 0, stay), g.slice(moved, 1, 0, -1))
}

func blur(g *graph, s kernels.Blur, _ []int, in []value) string {
	x := g.clips(in[0])
	along := func(axis int) {
		p := make([]int, 5)
		p[axis] = 1
		wide := g.pad(x, "edge", p, p)
		near := g.op("Add", g.slice(wide, axis, 0, -2), g.slice(wide, axis, 2, last))
		x = g.op("Add", g.scaled(near, .25, 0), g.scaled(x, .5, 0))
	}
	if s.Time {
		along(1)
	}
	if s.Space {
		along(2)
		along(3)
	}
	return x
}

func framePool(g *graph, s kernels.FramePool, _ []int, in []value) string {
	x := g.reshape(g.clips(in[0]), 0, 0, -1, s.C) // [N,T,P,C]
	k := g.shaped(in[1], ".column", s.C, 1)
	a := g.opWith("Softmax", []attr{{"axis", 2}}, g.op("MatMul", x, k))
	return g.reshape(g.op("MatMul", g.transpose(a, 0, 1, 3, 2), x), 0, 0, 1, 1, s.C)
}

// typeName is the name of a Spec's type for errors.
func typeName(s kernels.Spec) string { return fmt.Sprintf("%s (%T)", kernels.Name(s), s) }

// integers are 64-bit until they leave the graph: the widest that Reshape, Gather and Mod share.
const integers = onnxpb.TensorProto_INT64
