package pretrained

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
)

func write(t *testing.T, tensors map[string][]float32) string {
	t.Helper()
	root := torchfile.NewDict()
	for name, values := range tensors {
		tensor, err := torchfile.FromFloat32([]int{len(values)}, values)
		trainertest.Check(t, err)
		root.Set(name, tensor)
	}
	counter, err := torchfile.FromInt64(nil, []int64{7}) // as batch norms have
	trainertest.Check(t, err)
	root.Set("bn.num_batches_tracked", counter)
	path := filepath.Join(t.TempDir(), "w.pth")
	f, err := os.Create(path)
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(torchfile.Write(f, root), f.Close()))
	return path
}

// Tensors of several files are read by their names, those of DataParallel by their own; what is not wanted is left out.
func TestRead(t *testing.T) {
	a := write(t, map[string][]float32{"module.features.0.bias": {1, 2}, "classifier.bias": {3}})
	b := write(t, map[string][]float32{"lin0.model.1.weight": {4}})
	wanted := func(name string) bool { return !strings.HasPrefix(name, "classifier") }
	got, err := Read(a+", "+b, wanted)
	trainertest.Check(t, err)
	if len(got) != 2 || got["features.0.bias"].Values[1] != 2 || got["lin0.model.1.weight"].Shape[0] != 1 {
		t.Errorf("%v", got)
	}
	for want, files := range map[string]string{
		"is also in":   b + "," + b,
		"want files":   a + ",",
		"holds NaN at": write(t, map[string][]float32{"lin": {0, float32(math.NaN())}}),
		"no such file": filepath.Join(t.TempDir(), "absent.pt"),
		"not a file of torch.save": func() string {
			path := filepath.Join(t.TempDir(), "text.pt")
			trainertest.Check(t, os.WriteFile(path, []byte("weights"), 0o666))
			return path
		}(),
	} {
		_, err := Read(files, wanted)
		trainertest.Refused(t, err, want)
	}
	_, err = LPIPS(a + "," + b)
	trainertest.Refused(t, err, "no tensor features.0.weight", "lpips.LPIPS(net='vgg')")
}
