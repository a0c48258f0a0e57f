package kerneltest

import "magvit/kernels"

// HopperSMs is the number of SMs that cases of Hopper are planned for: so few that CTAs
// loop over several tiles and split some.
const HopperSMs = 2

// Hopper are cases of conv_sm90a.cu, for devices of sm_90 in bfloat16 (gpu.Hopper): they
// are too small for it otherwise. All, some or none of their activations are stored in
// bfloat16.
func Hopper() []Case {
	const why = "float32 sums of up to a few thousand products"
	var cs []Case
	for i, s := range hopperShapes() {
		full, grad := s, s
		full.Act, full.Residual, grad.Act, grad.Residual = kernels.SiLU, true, kernels.ELU, true
		cases := []Case{{Spec: full}, {Spec: kernels.ConvGradX{Conv: s}}, {Spec: kernels.ConvGradX{Conv: grad}}, {Spec: kernels.ConvGradW{Conv: s}}}
		if f := [][3]int{0: {2, 2, 4}, 1: {4, 1, 2}, 6: {2, 1, 2}}; i < len(f) && f[i] != [3]int{} { // strides, CTAs of one tile of pixels or two, and channels that are no multiple of 8
			cases[1] = convShuffle(s, f[i][0], f[i][1], f[i][2])
		}
		if i%3 == 0 || i == 5 { // one and two tiles of channels, whole and not, and several splits
			cases = append(cases, Case{Spec: kernels.ConvGradWB{Conv: s}})
		}
		if i == 4 || i == 6 { // channels that are a multiple of 8, and not
			cases = append(cases, convGEGLUCase(kernels.ConvGradGEGLU{Conv: s}))
		}
		if i%2 == 0 { // the same, strides, and splits
			cases = append(cases, convGEGLUCase(kernels.ConvGEGLU{Conv: s}))
		}
		for j, c := range cases {
			c.Tol, c.Why = convTol, why
			if j == 2 {
				c.Draw = map[string]Draw{"s": Mixed(-1, 1, 0)}
			}
			var names []string
			for k, a := range c.Spec.Args() {
				if bits := []uint32{0, ^uint32(0), 0b01011, 0b10010}[(i+j)%4]; a.Store == kernels.StoreEither && bits>>k&1 != 0 {
					names = append(names, a.Name)
				}
			}
			c.Spec = kernels.StoreBF16(c.Spec, names...)
			cs = append(cs, c)
		}
	}
	return append(cs, convShuffle(cube(1, 2, 2, 4, 10, 17, 2, 3), 2, 2, 1)) // splits of channels that are no multiple of 8
}

// hopperShapes are convolutions that reach each loop of conv_sm90a.cu: pixel tiles over
// edges, several tiles, CTAs with one and with two pixel tiles, channels that fill no tile,
// sums of more steps than the pipelines have stages, lines that taps share.
func hopperShapes() []kernels.Conv {
	dilated := cube(1, 6, 7, 6, 67, 46, 3, 1)
	dilated.DT, dilated.PT = 2, 3
	bare := cube(5, 3, 4, 5, 8, 72, 2, 2) // even kernel, no padding, pixel tiles of several clips
	bare.PT, bare.PH, bare.PW = 0, 0, 0
	strided := cube(1, 2, 34, 36, 64, 70, 1, 3) // several pixel tiles
	strided.SH, strided.SW = 2, 2
	late := cube(1, 8, 3, 4, 40, 64, 3, 1) // every third frame is read, with a dilation of two
	late.ST, late.DT, late.PT = 3, 2, 4
	return []kernels.Conv{
		strided, late, cube(1, 5, 9, 15, 64, 64, 2, 3), cube(1, 3, 12, 11, 128, 128, 1, 3), cube(3, 1, 13, 17, 64, 192, 1, 1),
		cube(2, 1, 16, 33, 72, 42, 2, 3), dilated, bare,
	}
}
