package model

import (
	"cmp"
	"slices"
	"strings"

	"magvit/model/reference"
)

// ToReference copies a parameter's values from the memory order of Shape to that of
// Reference: input channels are the last axis of a convolution here and the second axis
// there. All other parameters have the same order.
func (p Param) ToReference(dst, src []float32) {
	p.eachWeight(func(ours, theirs int) { dst[theirs] = src[ours] })
}

// FromReference is the inverse of ToReference.
func (p Param) FromReference(dst, src []float32) {
	p.eachWeight(func(ours, theirs int) { dst[ours] = src[theirs] })
}

// eachWeight calls do with each value's position in both orders.
func (p Param) eachWeight(do func(ours, theirs int)) {
	o, taps, c := 1, 1, p.Len()
	if len(p.Shape) == 5 { // a convolution
		o, c = p.Shape[0], p.Shape[4]
		taps = p.Len() / (o * c)
	}
	for i := range o {
		for k := range taps {
			for j := range c {
				do((i*taps+k)*c+j, (i*c+j)*taps+k)
			}
		}
	}
}

// ReferenceOrder lists the parameters, by index of Params, as the reference's
// state_dict does.
func (t *Tokenizer) ReferenceOrder() []int {
	return t.ordered(reference.StateDict)
}

// OptimizerOrder lists the parameters as the reference's optimizer numbers them:
// those that weight decay applies to, then the others.
func (t *Tokenizer) OptimizerOrder() []int {
	order := t.ordered(reference.Optimizer)
	slices.SortStableFunc(order, func(i, j int) int {
		rank := func(k int) int {
			if t.Params[k].Decay {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(i), rank(j))
	})
	return order
}

// ordered sorts the parameters by part of the network, in the given order. Within a part
// the order is the reference's.
func (t *Tokenizer) ordered(parts []string) []int {
	order := make([]int, len(t.Params))
	for i := range order {
		order[i] = i
	}
	rank := func(i int) int {
		part, _, _ := strings.Cut(t.Params[i].Name, ".")
		return slices.Index(parts, part)
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(rank(i), rank(j)) })
	return order
}
