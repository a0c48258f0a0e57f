package kernels

import (
	"fmt"
	"math"
)

func out(name string, shape ...int) Arg { return Arg{Name: name, Shape: shape, Out: true} }
func in(name string, shape ...int) Arg  { return Arg{Name: name, Shape: shape} }

// maxValues bounds an argument's size, so that index arithmetic cannot overflow.
const maxValues = 1 << 40

// positive checks sizes; names lists theirs in the same order. Their product
// bounds every argument of the Spec.
func positive(names []string, sizes ...int) error {
	product := 1
	for i, n := range sizes {
		if n < 1 {
			return fmt.Errorf("%s is %d, want at least 1", names[i], n)
		}
		if n > maxValues/product {
			return fmt.Errorf("sizes %v = %v: more than %d values", names, sizes, maxValues)
		}
		product *= n
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
