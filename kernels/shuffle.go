package kernels

// Shuffle moves channels to time and space, or back: a permutation.
//
// Up (Down false), x [N,T,H,W,C·FT·FH·FW] to y [N,T·FT,H·FH,W·FW,C]:
//
//	y[n, t·FT+a, h·FH+i, w·FW+j, c] = x[n, t, h, w, ((c·FT+a)·FH+i)·FW+j]
//
// Down is the inverse and adjoint. N, T, H, W, C always name the small grid and
// the thin channel count. Arguments: y; x.
type Shuffle struct {
	N, T, H, W, C int
	FT, FH, FW    int
	Down          bool
}

func (s Shuffle) Validate() error {
	return positive([]string{"N", "T", "H", "W", "C", "FT", "FH", "FW"}, s.N, s.T, s.H, s.W, s.C, s.FT, s.FH, s.FW)
}

func (s Shuffle) Args() []Arg {
	deep := []int{s.N, s.T, s.H, s.W, s.C * s.FT * s.FH * s.FW}
	wide := []int{s.N, s.T * s.FT, s.H * s.FH, s.W * s.FW, s.C}
	if s.Down {
		return []Arg{out("y", deep...), in("x", wide...)}
	}
	return []Arg{out("y", wide...), in("x", deep...)}
}

func (s Shuffle) FLOPs() int64 { return 0 }

func (s Shuffle) Define(args ...[]float32) {
	y, x := args[0], args[1]
	deep := 0 // position in the array with many channels
	for n := range s.N {
		for t := range s.T {
			for h := range s.H {
				for w := range s.W {
					for c := range s.C {
						for a := range s.FT {
							for i := range s.FH {
								for j := range s.FW {
									wide := (((n*s.T*s.FT+t*s.FT+a)*s.H*s.FH+h*s.FH+i)*s.W*s.FW+w*s.FW+j)*s.C + c
									if s.Down {
										y[deep] = x[wide]
									} else {
										y[wide] = x[deep]
									}
									deep++
								}
							}
						}
					}
				}
			}
		}
	}
}
