package gpu

import (
	"fmt"

	"magvit/kernels"
)

// layer plans pointwise kernels, sums, moves, gates, norms, modulation, the loss and the optimizer.
func (p *program) layer(s kernels.Spec) bool {
	return p.pointwise(s) || p.reduction(s) || p.move(s) || p.neighbours(s) || p.gate(s) || p.norm(s) || p.modulation(s) || p.solve(s)
}

func (p *program) pointwise(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Act:
		p.eights(p.typed("act"), s.Len, args(2), s.Kind)
	case kernels.ActGrad:
		p.eights(p.typed("act_grad"), s.Len, args(3), s.Kind)
	case kernels.Add:
		p.eights(p.typed("add"), s.Len, args(3))
	case kernels.Affine:
		p.eights(p.typed("affine"), s.Len, args(2), s.Mul, s.Add)
	case kernels.GEGLU:
		p.warps(p.typed("geglu"), s.Rows, args(2), s.C)
	case kernels.GEGLUGrad:
		p.warps(p.typed("geglu_grad"), s.Rows, args(3), s.C)
	default:
		return false
	}
	return true
}

func (p *program) reduction(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.SumRows:
		p.sum(p.typed("sum_rows"), arg(0), []operand{arg(1)}, s.Rows, s.C)
	case kernels.SumSquares:
		parts, size := chunks(s.Len)
		if parts == 1 {
			p.add("sum_squares", line(1), line(threads), args(2), s.Len, size)
			break
		}
		some := p.reserve(parts)
		p.add("sum_squares", line(parts), line(threads), []operand{some, arg(1)}, s.Len, size)
		p.add("sum_values", line(1), line(threads), []operand{arg(0), some}, parts, ceilDiv(parts, 8)*8)
	case kernels.WeightedSum:
		p.add("weighted_sum", line(1), line(1), args(2), s.Len, s.W[0], s.W[1], s.W[2], s.W[3])
	case kernels.Spread:
		p.add("spread", line(1), line(4), args(2), s.Len, s.W[0], s.W[1], s.W[2], s.W[3])
	default:
		return false
	}
	return true
}

// chunks divides n values among blocks that sum them: enough of them to keep the memory
// of a large device busy, none with less than 4096 values, all of a multiple of 8.
func chunks(n int) (parts, size int) {
	size = ceilDiv(ceilDiv(n, max(1, min(4*wave, n/4096))), 8) * 8
	return ceilDiv(n, size), size
}

func (p *program) move(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Shuffle:
		p.shuffle(s, null, s.Act)
	case kernels.ShuffleGrad:
		s.Down = !s.Down
		p.shuffle(s.Shuffle, arg(2), s.Act)
	case kernels.PadFront:
		p.frames("pad_front", s.Inner, s.N*(s.P+s.T), args(2), s.P, s.T)
	case kernels.CropFront:
		p.frames("crop_front", s.Inner, s.N*s.T, args(2), s.P, s.T)
	case kernels.ConcatTime:
		p.frames("concat_time", s.Inner, s.N*(s.TA+s.TB), args(3), s.TA, s.TB)
	case kernels.SliceTime:
		p.frames("slice_time", s.Inner, s.N*(s.To-s.From), args(2), s.T, s.From, s.To-s.From)
	case kernels.SliceTimeGrad:
		p.frames("slice_time_grad", s.Inner, s.N*s.T, args(2), s.T, s.From, s.To-s.From)
	default:
		return false
	}
	return true
}

// frames adds a kernel that moves whole frames of inner values: so many results, then
// sizes, all in frames. Where 16 bytes never hold values of two frames they are moved
// at once.
func (p *program) frames(kernel string, inner, results int, pointers []operand, sizes ...int) {
	wide := 4
	if p.tied {
		wide = 8
	}
	if inner%wide == 0 {
		kernel, inner = kernel+"_wide", inner/wide
	} else {
		kernel = p.typed(kernel)
	}
	var values []any
	for _, n := range sizes {
		values = append(values, n*inner)
	}
	p.each(kernel, results*inner, pointers, values...)
}

// shuffle moves values and applies kind, or multiplies by its slopes where given.
func (p *program) shuffle(s kernels.Shuffle, slopes operand, kind kernels.Activation) {
	f, pointers := s.FT*s.FH*s.FW, []operand{arg(0), arg(1), slopes}
	sizes := []any{s.T, s.H, s.W, s.C, s.FT, s.FH, s.FW, flag(s.Down), kind}
	n := s.Args()[0].Len()
	if s.C%8 != 0 || f != 2 && f != 4 {
		p.eights(p.typed("shuffle"), n, pointers, sizes...)
		return
	}
	sizes[3] = s.C / 8
	for a := range s.FT {
		for i := range s.FH {
			for j := range s.FW {
				sizes = append(sizes, ((a*s.H*s.FH+i)*s.W*s.FW+j)*s.C)
			}
		}
	}
	p.each(p.typed(fmt.Sprintf("shuffle_%d", f)), n/8/f, pointers, sizes...)
}

// neighbours plans what other frames and pixels have a part in.
func (p *program) neighbours(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.GateLoop:
		n := s.N * s.P * s.C
		p.spread(p.typed("gateloop"), byEights(n, s.C), args(2), n, s.T, s.P, s.C)
	case kernels.GateLoopGrad:
		n := s.N * s.P * s.C
		p.spread(p.typed("gateloop_grad"), byEights(n, s.C), append(args(3), p.reserve(n*s.T)), n, s.T, s.P, s.C)
	case kernels.TokenShift:
		by, name, v := -1, "token_shift", 1
		if s.Back {
			by = 1
		}
		if s.C%16 == 0 {
			name, v = "token_shift_8", 8
		}
		p.each(p.typed(name), s.N*s.T*s.P*s.C/v, args(2), s.T, s.P*s.C/v, s.C/v, (s.C+1)/2/v, by)
	case kernels.Pad:
		p.pixels("pad", s.Args()[0].Len(), s.C, padSize(s)...)
	case kernels.PadGrad:
		p.pixels("pad_grad", s.Args()[0].Len(), s.C, padSize(s.Pad)...)
	case kernels.Blur:
		p.pixels("blur", s.Args()[0].Len(), s.C, s.T, s.H, s.W, s.C, flag(s.Time), flag(s.Space))
	default:
		return false
	}
	return true
}

// byEights is how many threads do n values, if each has eight of a row of c where c is
// a multiple of eight, else one.
func byEights(n, c int) int {
	if c%8 == 0 {
		return n / 8
	}
	return n
}

// pixels adds a kernel of a result and a source with n results in pixels of c channels:
// that for eight channels a thread, if it can.
func (p *program) pixels(kernel string, n, c int, values ...any) {
	if c%8 == 0 {
		kernel, n = kernel+"_8", n/8
	}
	p.each(p.typed(kernel), n, args(2), values...)
}

// padSize are the fields of PadSize.
func padSize(s kernels.Pad) []any {
	return []any{s.T, s.H, s.W, s.C, s.PT, s.PH, s.PW, int(s.Mode)}
}

// flag is a bool as a kernel reads it.
func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func (p *program) gate(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.FramePool:
		a, _ := p.attention(s, arg(1), arg(2), null)
		p.groups(p.typed("weighted_rows"), arg(0), []operand{a, arg(1)}, s.F, s.P, s.C)
	case kernels.FramePoolGradX:
		a, ds := p.attention(kernels.FramePool(s), arg(2), arg(3), arg(1))
		p.gates("frame_pool_grad_x", s.F, s.P, s.C, []operand{arg(0), a, ds, arg(1), arg(3)})
	case kernels.FramePoolGradK:
		_, ds := p.attention(kernels.FramePool(s), arg(2), arg(3), arg(1))
		p.sum(p.typed("weighted_rows"), arg(0), []operand{ds, arg(2)}, s.F*s.P, s.C)
	case kernels.SqueezeExciteGradX:
		a, ds := p.attention(kernels.FramePool{F: s.F, P: s.P, C: s.C}, arg(4), arg(5), arg(3))
		p.gates("squeeze_excite_grad_x", s.F, s.P, s.C, []operand{arg(0), arg(1), arg(4), arg(2), a, ds, arg(3), arg(5)}, s.Act)
	case kernels.FrameGate:
		r := null
		if s.Residual {
			r = arg(3)
		}
		p.gates("frame_gate", s.F, s.P, s.C, append(args(3), r))
	case kernels.FrameGateGradG:
		p.groups(p.typed("product_rows"), arg(0), []operand{arg(1), arg(2)}, s.F, s.P, s.C)
	default:
		return false
	}
	return true
}

// attention is softmax over the pixels of each frame of x·k, [F,P], and, unless dctx is
// null, the gradient of its logits.
func (p *program) attention(s kernels.FramePool, x, k, dctx operand) (a, ds operand) {
	a, ds = p.reserve(s.F*s.P), null
	if dctx != null {
		ds = p.reserve(s.F * s.P)
	}
	lanes, v := 32, 1
	if s.C%8 == 0 {
		v = 8
	}
	for lanes > 1 && lanes/2*v >= s.C {
		lanes /= 2
	}
	p.add(p.typed("frame_dots"), line(ceilDiv(s.F*s.P*lanes, threads)), line(threads), []operand{a, ds, x, k, dctx}, s.F*s.P, s.C, s.P, lanes)
	block := threads
	if s.P > 4*threads {
		block = 4 * threads
	}
	p.add("frame_softmax", line(s.F), line(block), []operand{a, ds}, s.P)
	return a, ds
}

// gates adds a kernel of gate.cu that has a thread for eight channels, or one: a frame
// for each y.
func (p *program) gates(kernel string, f, pixels, c int, pointers []operand, values ...any) {
	n := pixels * c
	if c%8 == 0 {
		kernel += "_8"
	}
	p.add(p.typed(kernel), [3]uint32{uint32(ceilDiv(byEights(n, c), threads)), uint32(f), 1}, line(threads), pointers, append([]any{n, c}, values...)...)
}

func (p *program) norm(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.LayerNorm:
		p.rows("layer_norm", s.Rows, s.C, args(4), s.Eps)
	case kernels.LayerNormGradX:
		p.rows("layer_norm_grad_x", s.Rows, s.C, args(4), s.Eps)
	case kernels.LayerNormGradGamma:
		p.gammas("layer_norm_grad_gamma", 1, s.Rows, s.C, s.Eps)
	case kernels.RMSNorm:
		p.rows("rms_norm", s.Rows, s.C, args(3), s.Rows)
	case kernels.RMSNormGradX:
		r := null
		if s.Residual {
			r = arg(4)
		}
		p.rows("rms_norm_grad_x", s.Rows, s.C, append(args(4), r), s.Rows)
	case kernels.RMSNormGradGamma:
		p.gammas("rms_norm_grad_gamma", 1, s.Rows, s.C)
	case kernels.AdaptiveRMSNorm:
		p.rows("rms_norm", s.N*s.Rows, s.C, args(3), s.Rows)
	case kernels.AdaptiveRMSNormGradX:
		p.rows("rms_norm_grad_x", s.N*s.Rows, s.C, append(args(4), null), s.Rows)
	case kernels.AdaptiveRMSNormGradGamma:
		p.gammas("rms_norm_grad_gamma", s.N, s.Rows, s.C)
	case kernels.Normalize:
		p.rows("normalize", s.Rows, s.C, args(2))
	case kernels.NormalizeGrad:
		p.rows("normalize_grad", s.Rows, s.C, args(3))
	default:
		return false
	}
	return true
}

// normed are the forms of norm.cu's kernels: lanes threads share a row, of which each
// has values neighbours; a block that sums over rows has kept columns of each lane.
type normed struct {
	name                string
	values, lanes, kept int
}

func normForm(kernel string, c int) normed {
	f := normed{kernel, 8, 32, 16}
	if c%8 != 0 {
		f = normed{kernel + "_odd", 1, 32, 8}
	}
	for f.lanes > 1 && f.lanes/2*f.values >= c {
		f.lanes /= 2
	}
	return f
}

// rows adds a kernel of norm.cu for rows of c values.
func (p *program) rows(kernel string, rows, c int, pointers []operand, values ...any) {
	f := normForm(kernel, c)
	p.add(p.typed(f.name), line(ceilDiv(rows*f.lanes, threads)), line(threads), pointers, append([]any{rows, c}, values...)...)
}

// gammas adds a kernel of norm.cu that sums over n groups of so many rows, by parts of
// equal length if they are long.
func (p *program) gammas(kernel string, n, rows, c int, values ...any) {
	f := normForm(kernel, c)
	pieces := ceilDiv(c, f.kept*f.lanes)
	parts, size := splitInto(sumWave, rows, n*pieces, 8*threads/f.lanes)
	if n > 1 {
		for rows%parts != 0 {
			parts--
		}
		size = rows / parts
	}
	y := arg(0)
	if parts > 1 {
		y = p.reserve(n * parts * c)
	}
	p.add(p.typed(f.name), [3]uint32{uint32(n * parts), uint32(pieces), 1}, line(threads), []operand{y, arg(1), arg(2)}, append([]any{n * rows, c, size}, values...)...)
	if parts > 1 {
		p.columns("sum_rows", arg(0), []operand{y}, n*parts, c, parts)
	}
}

func (p *program) modulation(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Modulate:
		p.add("modulate", line(s.N*s.O), line(threads), args(3), s.O, s.Taps, s.C, flag(s.Demod))
	case kernels.ModulateGradW:
		r, along := p.demodulation(s.Modulate)
		p.each("modulate_grad_w", s.O*s.Taps*s.C, append(args(4), r, along), s.N, s.O, s.Taps, s.C)
	case kernels.ModulateGradS:
		r, along := p.demodulation(s.Modulate)
		rows := s.N * s.O * s.Taps
		each := p.reserve(s.N * s.O * s.C) // of an output channel
		p.columns("modulate_grad_s", each, []operand{arg(1), arg(2), arg(3), r, along}, rows, s.C, s.Taps, s.O, s.Taps)
		p.columns("sum_rows", arg(0), []operand{each}, s.N*s.O, s.C, s.O)
	default:
		return false
	}
	return true
}

// demodulation is what the gradients need to know of each sample's output channels; dm
// is argument 1, w 2, s 3.
func (p *program) demodulation(s kernels.Modulate) (r, along operand) {
	r, along = p.reserve(s.N*s.O), p.reserve(s.N*s.O)
	p.add("modulate_stats", line(s.N*s.O), line(threads), []operand{r, along, arg(1), arg(2), arg(3)}, s.O, s.Taps, s.C, flag(s.Demod))
	return r, along
}

// solve plans losses and the update of the weights.
func (p *program) solve(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.ReconLoss:
		n, size := chunks(s.Pixels * s.C)
		parts := p.reserve(2 * n)
		p.add("recon_loss", line(n), line(threads), []operand{parts, arg(1), arg(2), arg(3)}, s.Pixels, s.C, s.Kind, s.Overshoot, size, ceilDiv(s.Pixels, n))
		p.add("recon_loss_end", line(1), line(threads), []operand{arg(0), parts}, n)
	case kernels.ReconLossGrad:
		n, size := chunks(s.Pixels)
		sums := p.reserve(n)
		p.add("sum_values", line(n), line(threads), []operand{sums, arg(4)}, s.Pixels, size)
		p.eights("recon_loss_grad", s.Pixels*s.C, append(args(5), sums), s.C, s.Kind, s.Overshoot, n)
	case kernels.CrossEntropy:
		rows, counts := p.reserve(s.Rows), p.reserve(s.Rows)
		p.each("cross_entropy", s.Rows, []operand{rows, counts, arg(1), arg(2)}, s.C)
		p.add("cross_entropy_end", line(1), line(threads), []operand{arg(0), rows, counts}, s.Rows)
	case kernels.CrossEntropyGrad:
		p.each("cross_entropy_grad", s.Rows, args(4), s.C)
	case kernels.AdamW:
		p.eights("adam_w", s.Len, args(7))
	default:
		return false
	}
	return true
}
