package ranks

import (
	"math/bits"

	"magvit/kernels"
)

// Tree is the order in which the values of a step's micro-batches are added: in pairs of
// neighbours, then pairs of pairs. It is the same whatever rank computes which of them, so
// that float32 sums have the same bits for any number of ranks.
//
// Node k of level l is the sum of micro-batches k·2^l up to (k+1)·2^l, as far as there are.
type Tree struct{ Leaves int }

// Node is a sum in a Tree.
type Node struct{ Level, Index int }

// span is the range of a node's micro-batches.
func (t Tree) span(n Node) (from, to int) {
	return min(t.Leaves, n.Index<<n.Level), min(t.Leaves, (n.Index+1)<<n.Level)
}

// root is the node of the whole sum.
func (t Tree) root() Node { return Node{Level: bits.Len(uint(t.Leaves - 1))} }

// Part is the range of micro-batches that a rank computes. Of more ranks than micro-batches
// some compute none, but never the first one.
func (t Tree) Part(rank, size int) (from, to int) {
	first := func(rank int) int { return (rank*t.Leaves + size - 1) / size }
	return first(rank), first(rank + 1)
}

// Nodes are the largest sums of micro-batches from..to alone, in order. A rank that computes
// these micro-batches sends these sums.
func (t Tree) Nodes(from, to int) []Node {
	var list []Node
	if from < to {
		t.walk(t.root(), from, to, &list)
	}
	return list
}

func (t Tree) walk(n Node, from, to int, list *[]Node) {
	a, b := t.span(n)
	switch {
	case a >= to || b <= from || a == b:
	case from <= a && b <= to:
		*list = append(*list, n)
	default:
		t.walk(Node{n.Level - 1, 2 * n.Index}, from, to, list)
		t.walk(Node{n.Level - 1, 2*n.Index + 1}, from, to, list)
	}
}

// Push is what computing micro-batch i does to a rank's sums, when it began with from: of
// depth sums, the last merges ones are joined with it; with 0 it becomes another sum.
func (t Tree) Push(from, i int) (depth, merges int) {
	depth = len(t.Nodes(from, i))
	return depth, depth + 1 - len(t.Nodes(from, i+1))
}

// Sums are the values of the nodes of a rank that began with from, see Nodes, given those of its
// micro-batches, which are overwritten.
func (t Tree) Sums(from int, batches [][]float32) (sums [][]float32) {
	for i, b := range batches {
		depth, merges := t.Push(from, from+i)
		sums = append(sums[:depth], b)
		for range merges {
			last := len(sums) - 1
			kernels.AddTo(sums[last-1], sums[last])
			sums = sums[:last]
		}
	}
	return sums
}

// Depth is the largest number of sums that a rank holds at once, besides the micro-batch
// that it adds.
func (t Tree) Depth(from, to int) (most int) {
	for i := from; i < to; i++ {
		depth, merges := t.Push(from, i)
		if merges == 0 {
			depth++
		}
		most = max(most, depth)
	}
	return most
}

// Add adds the values of nodes, which are those that Nodes lists for consecutive ranges of
// all micro-batches. The values are overwritten; the whole sum is in the first one.
func (t Tree) Add(nodes []Node, values [][]float32) []float32 {
	for _, p := range t.Pairs(nodes) {
		kernels.AddTo(values[p[0]], values[p[1]])
	}
	return values[0]
}

// Pairs are the additions of Add in order: to the value of the first of two nodes that of the
// second, by their positions.
func (t Tree) Pairs(nodes []Node) (list [][2]int) {
	i := 0
	var add func(n Node) int
	add = func(n Node) int {
		if nodes[i] == n {
			i++
			return i - 1
		}
		sum := add(Node{n.Level - 1, 2 * n.Index})
		if right := (Node{n.Level - 1, 2*n.Index + 1}); right.Index<<right.Level < t.Leaves {
			list = append(list, [2]int{sum, add(right)})
		}
		return sum
	}
	add(t.root())
	return list
}
