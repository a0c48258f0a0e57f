package model

import (
	"errors"
	"fmt"
	"sort"

	"magvit/kernels"
	"magvit/model/machine"
)

// InUse is the allocated memory of a backend in bytes; 0 if it does not count it.
func InUse(be kernels.Backend) int64 {
	if b, ok := be.(kernels.Allocator); ok {
		return b.Allocated()
	}
	return 0
}

// ExplainMemory adds to an out-of-memory error of compiling the training program for a
// batch what the program needs and the largest batch that fits. inUse is the backend's
// memory before it was compiled.
func ExplainMemory(net Network, be kernels.Backend, s Shape, how machine.Recompute, inUse int64, err error) error {
	var m *kernels.MemoryError
	if !errors.As(err, &m) {
		return err
	}
	need := func(n int) int64 {
		s := s
		s.N = n
		bytes, bad := TrainingBytes(net, be, s, how)
		if bad != nil {
			return 1 << 62
		}
		return bytes
	}
	free := m.Free + m.Used - inUse // what the failed attempt holds is as good as free
	fits := sort.Search(s.N-1, func(i int) bool { return need(i+1) > free })
	advice := fmt.Sprintf("a batch of %d fits", fits)
	if fits == 0 {
		advice = "not even one clip fits; shorter or smaller clips, or a narrower model, do"
	}
	return fmt.Errorf("a batch of %d clips of %d frames, %d×%d, needs %s in addition to %s of parameters and state; %s of the device's %s are free for it: %s: %w",
		s.N, s.T, s.W, s.H, kernels.Size(need(s.N)), kernels.Size(inUse), kernels.Size(free), kernels.Size(m.Total), advice, m.Err)
}

// TrainingBytes is the memory of the training program of a batch, without parameters
// and gradients, where values are made again as how says.
func TrainingBytes(net Network, be kernels.Backend, s Shape, how machine.Recompute) (int64, error) {
	graphs, err := trainingGraphs(net, s)
	if err != nil {
		return 0, err
	}
	graphs[0].Recompute = how
	params := net.Declared()
	offsets, end := make([]int, len(params)), 0
	for i, p := range params {
		offsets[i] = end
		end += p.Len()
	}
	a := &memoryEstimate{of: be}
	arena, err := a.Alloc(end)
	if err != nil {
		return 0, err
	}
	a.Bytes = 0
	for _, g := range graphs {
		if _, err := g.Compile(a, arena, arena, offsets); err != nil {
			return 0, err
		}
	}
	return a.Bytes + a.scratch, nil
}

// trainingGraphs are the graphs of a step that need memory at once, the network's own first.
func trainingGraphs(net Network, s Shape) ([]*Graph, error) {
	t, ok := net.(*Tokenizer)
	if !ok || !t.Config.HasDiscriminator() {
		g, err := net.Training(s)
		return []*Graph{g}, err
	}
	g, err := t.GeneratorStep(s, false)
	if err != nil {
		return nil, err
	}
	graphs := []*Graph{g}
	for _, penalty := range []bool{false, true} {
		if g, err = t.DiscriminatorStep(s, penalty, false); err != nil {
			return nil, err
		}
		graphs = append(graphs, g)
	}
	return graphs, nil
}

// memoryEstimate is a backend without memory that also counts the workspace that the
// kernels of another backend need.
type memoryEstimate struct {
	kernels.NullBackend
	of      kernels.Backend
	scratch int64
}

// StoresBF16 is that of the other backend.
func (a *memoryEstimate) StoresBF16() bool { return kernels.StoresBF16(a.of) }

// FusesGradients is that of the other backend.
func (a *memoryEstimate) FusesGradients() bool { return kernels.FusesGradients(a.of) }

// Work is that of the other backend.
func (a *memoryEstimate) Work(s kernels.Spec) int64 { return kernels.WorkOf(a.of, s) }

// Prepare counts the workspace, which all kernels share.
func (a *memoryEstimate) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	if b, ok := a.of.(kernels.WorkspaceSizer); ok {
		a.scratch = max(a.scratch, b.WorkspaceBytes(s))
	}
	return nil, nil
}
