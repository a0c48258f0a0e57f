package kernels

import (
	"fmt"
	"math"
)

func out(name string, shape ...int) Arg { return Arg{Name: name, Shape: shape, Out: true} }

// updated is an argument that is read and written in place.
func updated(name string, shape ...int) Arg {
	return Arg{Name: name, Shape: shape, Out: true, Read: true}
}

func in(name string, shape ...int) Arg { return Arg{Name: name, Shape: shape} }

// actOut and actIn are activations, of StoreUniform.
func actOut(name string, shape ...int) Arg {
	return Arg{Name: name, Shape: shape, Out: true, Store: StoreUniform}
}
func actIn(name string, shape ...int) Arg { return Arg{Name: name, Shape: shape, Store: StoreUniform} }

// either is a with StoreEither.
func either(a Arg) Arg {
	a.Store = StoreEither
	return a
}

// factor is a with RoundInBF16.
func factor(a Arg) Arg {
	a.Round = RoundInBF16
	return a
}

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
