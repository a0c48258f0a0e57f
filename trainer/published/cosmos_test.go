package published

import (
	"bytes"
	"encoding/json"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/config"
	"magvit/trainer/torchfile"
	"magvit/trainer/trainertest"
)

// cosmosFile writes a torch file of the tensors that the golden file of a small DV4x8x8 network lists, under the given folder;
// change may add or remove some.
func cosmosFile(t *testing.T, folder string, change func(state map[string][]int)) string {
	t.Helper()
	var c struct{ Params [][]any }
	trainertest.Check(t, json.Unmarshal([]byte(caseText(t, filepath.Join(testdata, "cosmos.dv.4x8x8_p2.safetensors"))), &c))
	state := map[string][]int{}
	for _, p := range c.Params {
		var shape []int
		for _, d := range p[1].([]any) {
			shape = append(shape, int(d.(float64)))
		}
		state[p[0].(string)] = shape
	}
	if change != nil {
		change(state)
	}
	dict := torchfile.NewDict()
	for _, name := range slices.Sorted(maps.Keys(state)) {
		n := 1
		for _, d := range state[name] {
			n *= d
		}
		values := make([]float32, n)
		for k := range values {
			values[k] = float32(crc32.ChecksumIEEE([]byte(name))%1000) + float32(k)/1024
		}
		x, err := torchfile.FromFloat32(state[name], values)
		trainertest.Check(t, err)
		dict.Set(name, x)
	}
	var b bytes.Buffer
	trainertest.Check(t, torchfile.Write(&b, dict))
	dir := filepath.Join(t.TempDir(), folder)
	trainertest.Check(t, os.MkdirAll(dir, 0o777))
	path := filepath.Join(dir, "autoencoder.pt")
	trainertest.Check(t, os.WriteFile(path, b.Bytes(), 0o666))
	return path
}

// everyConvolution adds the convolutions of all factors, as NVIDIA's older code has them.
func everyConvolution(state map[string][]int) {
	for _, level := range []string{"encoder.down.0.downsample", "encoder.down.1.downsample", "decoder.up.1.upsample", "decoder.up.2.upsample"} {
		c := 32
		if level == "encoder.down.0.downsample" {
			c = 16
		}
		space, time := ".conv1", ".conv2"
		if strings.HasPrefix(level, "decoder.") {
			space, time = time, space
		}
		for conv, shape := range map[string][]int{space: {c, c, 1, 3, 3}, time: {c, c, 3, 1, 1}, ".conv3": {c, c, 1, 1, 1}} {
			state[level+conv+".conv3d.weight"], state[level+conv+".conv3d.bias"] = shape, []int{c}
		}
	}
}

func TestImportOfCosmos(t *testing.T) {
	o := ImportOptions{File: cosmosFile(t, "any", nil), Family: model.Cosmos}
	r, _ := importedWeights(t, o)
	cfg, err := config.Load(filepath.Join(r.Run, config.FileName))
	trainertest.Check(t, err)
	want := model.CosmosConfig(8, 2, cosmosLevels, model.Published{Multipliers: []int{2, 4, 4}, Blocks: 1, SpaceFactor: 8, TimeFactor: 4, Latents: 12})
	if got := cfg.Model; got.Compat != want.Compat || got.Patch != want.Patch || got.InitDim != want.InitDim || !slices.Equal(got.Published.Multipliers, want.Published.Multipliers) ||
		got.Published.SpaceFactor != 8 || got.Published.TimeFactor != 4 || got.Published.Latents != 12 || !slices.Equal(got.Quantizer.Levels, cosmosLevels) {
		t.Errorf("the network is %+v, want %+v", got, want)
	}
	if r.Tensors != 246 || len(r.LeftOut) > 0 {
		t.Errorf("%d tensors, want all 246; left out %v", r.Tensors, r.LeftOut)
	}
	for _, name := range []string{"theirs.pt", "theirs.safetensors"} {
		again := o
		again.File = filepath.Join(t.TempDir(), name)
		x, err := Export(r.Run, again.File, model.Cosmos)
		trainertest.Check(t, err)
		if x.Tensors != 246 || !strings.Contains(strings.Join(x.Notes, " "), "4x8x8 with patches of 2") {
			t.Errorf("exported %+v", x)
		}
		sameTensors(t, o.File, again.File)
	}
	d, err := Describe(o.File)
	trainertest.Check(t, err)
	if d.Family != model.Cosmos || d.Mismatch != "" || d.Network.TimeFactor != 4 || d.Digits != 6 {
		t.Errorf("%+v", d)
	}
}

// sameTensors compares two files.
func sameTensors(t *testing.T, a, b string) {
	t.Helper()
	one, err := open(a)
	trainertest.Check(t, err)
	defer one.close()
	two, err := open(b)
	trainertest.Check(t, err)
	defer two.close()
	if len(one.tensors) != len(two.tensors) {
		t.Errorf("%d and %d tensors", len(one.tensors), len(two.tensors))
	}
	for name, x := range one.tensors {
		y := two.tensors[name]
		if y == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		v, err := x.Float32s()
		trainertest.Check(t, err)
		w, err := y.Float32s()
		trainertest.Check(t, err)
		if !slices.Equal(x.Shape, y.Shape) || !slices.Equal(v, w) {
			t.Errorf("%s: other values or another shape, %v and %v", name, x.Shape, y.Shape)
		}
	}
}

// Files of the older code have the convolutions of all factors, and do not say which the network uses.
func TestImportOfCosmosByFactors(t *testing.T) {
	o := ImportOptions{File: cosmosFile(t, "any", nil), Family: model.Cosmos}
	_, want := importedWeights(t, o)

	o.File = cosmosFile(t, "any", everyConvolution)
	o.Out = filepath.Join(t.TempDir(), "run")
	_, err := Import(o)
	trainertest.Refused(t, err, "give --factors", "8x16x16")
	for factors, message := range map[string]string{"4x8": "want frames, rows and columns", "4x8x16": "want frames, rows and columns", "16x8x8": "time_factor: 16", "4x12x12": "space_factor: 12"} {
		o.Factors = factors
		_, err := Import(o)
		trainertest.Refused(t, err, message)
	}
	o.Factors = "4x8x8"
	r, got := importedWeights(t, o)
	if !bytes.Equal(want, got) || len(r.LeftOut) != 1 || !strings.Contains(r.LeftOut[0], "convolutions that the network does not use") {
		t.Errorf("left out %v; the same weights: %v", r.LeftOut, bytes.Equal(want, got))
	}
	o.File, o.Factors = cosmosFile(t, "Cosmos-0.1-Tokenizer-DV4x8x8", everyConvolution), ""
	if r, _ := importedWeights(t, o); !strings.Contains(strings.Join(r.Notes, " "), "codes of 4x8x8, by the path's name") {
		t.Errorf("notes %v", r.Notes)
	}
	o.File, o.Factors = cosmosFile(t, "any", nil), "8x8x8"
	_, err = Import(o)
	trainertest.Refused(t, err, "--factors 8x8x8: the tensors are of 4x8x8")
}

func TestImportOfPartsOfCosmos(t *testing.T) {
	o := ImportOptions{Family: model.Cosmos}
	o.File = cosmosFile(t, "any", func(state map[string][]int) {
		maps.DeleteFunc(state, func(name string, _ []int) bool {
			return strings.HasPrefix(name, "decoder.") || strings.HasPrefix(name, "post_")
		})
	})
	o.Out = filepath.Join(t.TempDir(), "run")
	_, err := Import(o)
	trainertest.Refused(t, err, "the encoder without a decoder", "autoencoder.jit")
	o.File = cosmosFile(t, "any", func(state map[string][]int) {
		state["encoder.patcher3d.wavelets"], state["decoder.unpatcher3d._arange"], state["encoder.more"] = []int{2}, []int{2}, []int{1}
	})
	_, err = Import(o)
	trainertest.Refused(t, err, "encoder.more is unknown to the network")
	o.File = cosmosFile(t, "any", func(state map[string][]int) {
		state["encoder.patcher3d.wavelets"], state["decoder.unpatcher3d._arange"] = []int{2}, []int{2}
	})
	if r, _ := importedWeights(t, o); !slices.Contains(r.LeftOut, "constants of wavelets (2)") {
		t.Errorf("left out %v", r.LeftOut)
	}
	o.Family = model.VidTok
	_, err = Import(o)
	trainertest.Refused(t, err, "give --from cosmos")
	o.Family, o.Config = model.Cosmos, o.File
	_, err = Import(o)
	trainertest.Refused(t, err, "--levels and --factors")
}
