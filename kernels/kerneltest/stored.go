package kerneltest

import "magvit/kernels"

// Stored are the cases with all that a backend can keep in bfloat16 stored so, and of what
// can be so on its own each alone; cases of which nothing can are left out.
func Stored(be kernels.Backend, cases []Case) (cs []Case) {
	for _, c := range cases {
		can := kernels.StorageOf(be, c.Spec)
		masks := []uint32{can.Free | can.Tied}
		for i := range 32 {
			if bit := uint32(1) << i; can.Free&bit != 0 && can.Free != bit {
				masks = append(masks, bit|can.Tied)
			}
		}
		plain := c.Spec
		for _, half := range masks {
			if half != 0 {
				c.Spec = kernels.Stored{Spec: plain, Half: half}
				cs = append(cs, c)
			}
		}
	}
	return cs
}

// Halved are the cases with all that a backend can keep in bfloat16 stored so.
func Halved(be kernels.Backend, cases []Case) (cs []Case) {
	for _, c := range cases {
		if can := kernels.StorageOf(be, c.Spec); can.Free|can.Tied != 0 {
			c.Spec = kernels.Stored{Spec: c.Spec, Half: can.Free | can.Tied}
		}
		cs = append(cs, c)
	}
	return cs
}
