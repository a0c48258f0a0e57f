package checkpoint

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"magvit/kernels"
	"magvit/trainer/trainertest"
)

// readCounter is a backend that records its largest Read.
type readCounter struct {
	kernels.Backend
	largest int
}

func (c *readCounter) Read(dst []float32, src kernels.Buffer) error {
	c.largest = max(c.largest, len(dst))
	return c.Backend.Read(dst, src)
}

// Save has one tensor in memory at a time, and writes the bytes that WriteTensors writes of all.
func TestSaveReadsOneTensorAtATime(t *testing.T) {
	s, st, snap := saved(t, 3)
	counter := &readCounter{Backend: st.Backend}
	st.Backend = counter
	moment := make([]float32, st.Len)
	for k := range moment {
		moment[k] = float32(k)
	}
	trainertest.Check(t, st.Backend.Write(st.V, moment))
	snap.Step = 6
	trainertest.Check(t, s.Save(st, snap, true))
	largest := 0
	for _, p := range st.Layout.Params {
		largest = max(largest, p.Len())
	}
	if counter.largest != largest {
		t.Errorf("%d values were read at once, the largest tensor has %d", counter.largest, largest)
	}
	for file, arenas := range map[string]map[string]kernels.Buffer{
		ModelFile: {"": st.Params, AveragePrefix: st.EMA}, OptimizerFile: {firstMoment: st.M, secondMoment: st.V},
	} {
		var all []Tensor
		for prefix, b := range arenas {
			arena, err := st.Read(b)
			trainertest.Check(t, err)
			for i, p := range st.Layout.Params {
				all = append(all, Tensor{prefix + p.Name, p.Shape, st.Part(arena, i)})
			}
		}
		var want bytes.Buffer
		trainertest.Check(t, WriteTensors(&want, all, map[string]string{"format": "magvit", "step": "6"}))
		got, err := os.ReadFile(filepath.Join(s.Dir, StepName(6), file))
		trainertest.Check(t, err)
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s differs from the tensors written as a whole", file)
		}
	}
}

// A state that is not finite is refused by the name of the value, and leaves no checkpoint.
func TestSaveRefusesWhatIsNotFinite(t *testing.T) {
	s, st, snap := saved(t, 3)
	bad := make([]float32, st.Len)
	bad[st.Offsets[1]] = float32(math.NaN())
	trainertest.Check(t, st.Backend.Write(st.V, bad))
	snap.Step = 6
	trainertest.Refused(t, s.Save(st, snap, true), StepName(6), secondMoment+st.Layout.Params[1].Name+"[0] = NaN", "not finite")
	if steps, err := s.Steps(); err != nil || len(steps) != 1 {
		t.Errorf("checkpoints %v, %v", steps, err)
	}
}
