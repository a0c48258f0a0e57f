package published

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/task"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
)

// drawn writes a file of a network's first values.
func drawn(t *testing.T, c model.Config) string {
	t.Helper()
	tok, err := model.New(c)
	trainertest.Check(t, err)
	dict := torchfile.NewDict()
	for i, p := range tok.Params {
		ours, theirs := make([]float32, p.Len()), make([]float32, p.Len())
		tok.Init(3, i, ours)
		p.ToReference(theirs, ours)
		x, err := torchfile.FromFloat32(p.Reference, theirs)
		trainertest.Check(t, err)
		name := p.Name
		if p.Discriminator {
			name = "loss.discriminator." + strings.TrimPrefix(name, model.DiscriminatorPrefix)
		}
		dict.Set(name, x)
	}
	var b bytes.Buffer
	trainertest.Check(t, torchfile.Write(&b, dict))
	path := filepath.Join(t.TempDir(), "image.ckpt")
	trainertest.Check(t, os.WriteFile(path, b.Bytes(), 0o666))
	return path
}

// A clip of one frame has the codes of the image network, and comes back as it does, also
// where the video network doubles time.
func TestInflation(t *testing.T) {
	be := kernels.NewCPU(0)
	defer be.Close()
	size := model.Published{Multipliers: []int{1, 2, 2}, Blocks: 1, Images: true}
	file := drawn(t, model.OpenMagvit2Config(32, 6, size))
	s := data.Shape{N: 1, T: 1, H: 16, W: 12, C: 3}
	clip := make([]float32, s.Values())
	for i := range clip {
		clip[i] = float32(i*i%97) / 97
	}
	var codes [2][]int32
	var back [2][]float32
	for i, inflated := range []bool{false, true} {
		o := ImportOptions{File: file, Out: filepath.Join(t.TempDir(), "run"), Family: model.OpenMagvit2, Inflate: inflated}
		_, err := Import(o)
		trainertest.Check(t, err)
		codec, err := task.OpenCodec(be, o.Out)
		trainertest.Check(t, err)
		codes[i], err = codec.Encode(clip, s)
		trainertest.Check(t, err)
		back[i], err = codec.Decode(codes[0], s)
		trainertest.Check(t, err)
	}
	if !slices.Equal(codes[0], codes[1]) {
		t.Errorf("codes %v of the image, %v of the clip", codes[0], codes[1])
	}
	for i, v := range back[0] {
		if d := math.Abs(float64(v - back[1][i])); d > 1e-5 {
			t.Fatalf("value %d is %v of the image, %v of the clip", i, v, back[1][i])
		}
	}
	size.Images = false
	video := drawn(t, model.OpenMagvit2Config(32, 6, size))
	_, err := Import(ImportOptions{File: video, Out: filepath.Join(t.TempDir(), "run"), Family: model.OpenMagvit2, Inflate: true})
	trainertest.Refused(t, err, "--inflate", "video network")
}
