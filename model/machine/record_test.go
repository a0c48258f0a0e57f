package machine

import (
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// recording is a CPU that counts what is recorded and replayed.
type recording struct {
	*kernels.CPU
	recorded, replayed int
}

func (r *recording) Record(run func()) (func() error, error) {
	r.recorded++
	return func() error { r.replayed++; run(); return nil }, nil
}

// A backend that can record does so once; the values are those without it.
func TestRunReplays(t *testing.T) {
	run := func(be kernels.Backend) []float32 {
		c := newChain(t)
		p, err := Compile(be, append(G.Nodes{c.loss}, c.grads...), nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []*G.Node{c.x, c.w, c.b, c.target, c.each} {
			if err := be.Write(p.Buffer(n), draw(n.Name(), size(n))); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if err := p.Run(); err != nil {
				t.Fatal(err)
			}
		}
		values := make([]float32, size(c.grads[1]))
		if err := be.Read(values, p.Buffer(c.grads[1])); err != nil {
			t.Fatal(err)
		}
		return values
	}
	be := &recording{CPU: cpu(t, 1)}
	got, want := run(be), run(cpu(t, 1))
	if !slices.Equal(got, want) {
		t.Error("a replayed plan gives other gradients")
	}
	if be.recorded != 1 || be.replayed != 3 {
		t.Errorf("recorded %d times, replayed %d times; want 1 and 3", be.recorded, be.replayed)
	}
}
