package kerneltest

import "magvit/kernels"

// Stored are the cases with all activations stored as bfloat16, and with each of those
// alone that may be stored so whatever the others are; cases of Specs without such
// arguments are left out. There are none for a backend that stores float32 only.
func Stored(be kernels.Backend, cases []Case) (cs []Case) {
	if !kernels.StoresBF16(be) {
		return nil
	}
	for _, c := range cases {
		plain := c.Spec
		var uniform, either []string
		for _, a := range plain.Args() {
			switch a.Store {
			case kernels.StoreUniform:
				uniform = append(uniform, a.Name)
			case kernels.StoreEither:
				if a.Name == "w" { // rounded in any case: the same with all activations and alone
					continue
				}
				either = append(either, a.Name)
			}
		}
		if len(uniform)+len(either) == 0 {
			continue
		}
		c.Spec = kernels.StoreAllBF16(plain)
		cs = append(cs, c)
		if len(either) > 1 {
			for _, name := range either {
				c.Spec = kernels.StoreBF16(plain, append([]string{name}, uniform...)...)
				cs = append(cs, c)
			}
		}
	}
	return cs
}

// Halved are the cases with all activations stored as the backend stores them.
func Halved(be kernels.Backend, cases []Case) (cs []Case) {
	for _, c := range cases {
		if kernels.StoresBF16(be) {
			c.Spec = kernels.StoreAllBF16(c.Spec)
		}
		cs = append(cs, c)
	}
	return cs
}
