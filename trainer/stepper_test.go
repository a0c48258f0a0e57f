package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
)

// later is a CPU that does nothing before someone waits for it, as a GPU may. It notes
// what it is asked for.
type later struct {
	*kernels.CPU
	todo  []func()
	asked []string
}

func (b *later) Record(run func()) (func() error, error) {
	return func() error {
		b.asked = append(b.asked, "run")
		b.todo = append(b.todo, run)
		return nil
	}, nil
}

func (b *later) Write(dst kernels.Buffer, src []float32) error {
	b.note(len(src), "hyper")
	kept := slices.Clone(src)
	b.todo = append(b.todo, func() { copy(dst.(kernels.Host), kept) })
	return nil
}

func (b *later) Read(dst []float32, src kernels.Buffer) error {
	b.note(len(dst), "results")
	b.do()
	copy(dst, src.(kernels.Host))
	return nil
}

func (b *later) Sync() error {
	b.asked = append(b.asked, "wait")
	b.do()
	return nil
}

func (b *later) do() {
	for _, do := range b.todo {
		do()
	}
	b.todo = nil
}

// note tells what is copied by its size; of two clips of 4 frames of 16×16.
func (b *later) note(n int, few string) {
	names := map[int]string{2 * 4 * 16 * 16 * 3: "video", 2 * line: few, 2 * 2 * 4 * 4: "codes"}
	if name, ok := names[n]; ok {
		b.asked = append(b.asked, name)
	}
}

// The batch of the next step goes up before anyone waits for this one, also where a step
// has several; the weights are those of a run that waits for everything.
func TestNextBatchGoesUpWhileAStepIsAtWork(t *testing.T) {
	for _, c := range []struct{ accumulate, want string }{
		{"1", "video hyper run video wait results hyper run video wait results hyper run wait results codes"},
		{"2", "video run video hyper run video wait results run video hyper run video wait results run video hyper run wait results codes"},
	} {
		var models [2][]byte
		for i := range models {
			o, _ := small(t, "train.steps=3", "train.log_every=4", "train.eval_every=0", "train.samples=0", "train.save_every=0", "train.accumulate="+c.accumulate)
			cpu := o.Backend.(*kernels.CPU)
			slow := &later{CPU: cpu}
			if i == 1 {
				o.Backend = slow
			}
			tr := begun(t, o)
			if err := tr.evaluate(t.Context()); err != nil {
				t.Fatal(err)
			}
			slow.asked = nil
			tr.opt.OnStep = func(step int) {
				if step < 3 || i == 0 {
					return
				}
				if got := strings.Join(slow.asked, " "); got != c.want {
					t.Errorf("accumulate %s: the backend was asked for\n%s, want\n%s", c.accumulate, got, c.want)
				}
			}
			if _, err := tr.end(tr.train(t.Context())); err != nil {
				t.Fatal(err)
			}
			var err error
			if models[i], err = os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(3), checkpoint.ModelFile)); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(models[0], models[1]) {
			t.Errorf("accumulate %s: other weights", c.accumulate)
		}
	}
}

// First weights are those that each parameter gets on its own.
func TestInitialWeights(t *testing.T) {
	c, err := config.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	net, err := model.Build(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	of := checkpoint.NewLayout(net)
	arena := of.Initial(net, 3)
	for i, p := range of.Params {
		want := make([]float32, p.Len())
		net.Init(3, i, want)
		if !slices.Equal(of.Part(arena, i), want) {
			t.Errorf("%s has other first values", p.Name)
		}
	}
}
