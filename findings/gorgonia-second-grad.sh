#!/usr/bin/env bash
# gorgonia.org/gorgonia v0.9.18: gorgonia.Grad of a second expression that shares a node with the first.
# Expected: gradients of two losses in one graph are independent of each other, in either order.
# Seen: the second call leaves out every path through the shared node, without an error. With
# h = exp(x), a = sum(h*h), b = sum(h*x) and x = 1, 2, 3, where db/dx = exp(x)*(1+x):
#   b alone:  [5.4366 22.1672 80.3421]
#   a then b: [2.7183 7.3891 20.0855], which is exp(x)
# So one Grad a graph: several losses in several graphs, or one Grad of their weighted sum.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-mod=mod
cat >main.go <<'E'
package main

import (
	"fmt"
	"os"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	g := G.NewGraph()
	x := G.NewVector(g, G.Float64, G.WithShape(3), G.WithName("x"), G.WithValue(tensor.New(tensor.WithBacking([]float64{1, 2, 3}))))
	h := must(G.Exp(x))
	a := must(G.Sum(must(G.Square(h))))
	b := must(G.Sum(must(G.Mul(h, x))))
	if len(os.Args) > 1 {
		must(G.Grad(a, x))
	}
	db := must(G.Grad(b, x))[0]
	var v G.Value
	G.Read(db, &v)
	vm := G.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		panic(err)
	}
	fmt.Printf("%.4f\n", v.Data())
}
E
go mod init second >/dev/null 2>&1
go get gorgonia.org/gorgonia@v0.9.18 gorgonia.org/tensor@v0.9.24 >/dev/null 2>&1
go build -o second .
export ASSUME_NO_MOVING_GC_UNSAFE_RISK_IT_WITH=go1.26
alone=$(./second)
after=$(./second first)
echo "b alone:  $alone"
echo "a then b: $after"
[ "$alone" = "[5.4366 22.1672 80.3421]" ]
[ "$after" = "[2.7183 7.3891 20.0855]" ]
