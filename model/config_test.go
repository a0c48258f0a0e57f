package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
)

// The reference's parameters, those that it carries without using included.
func TestParametersOfTheReference(t *testing.T) {
	c, err := FromReference(map[string]any{"image_size": 64., "layers": []any{"residual", "residual"}, "use_fsq": true, "fsq_levels": []any{8., 5., 5., 5.}, "max_dim": math.Inf(1)})
	check(t, err)
	tok := create(t, c)
	if got := tok.NumParams(); got != 548107 {
		t.Errorf("%d parameters, want 548,107", got)
	}
	var last string
	for _, i := range tok.ReferenceOrder()[len(tok.Params)-4:] {
		last += tok.Params[i].Name + " "
	}
	if last != "quantizers.project_in.weight quantizers.project_in.bias quantizers.project_out.weight quantizers.project_out.bias " {
		t.Errorf("the last parameters of the state_dict are %s", last)
	}
	for want, args := range map[string]map[string]any{
		"model: argument imag_size of VideoTokenizer: unknown; known: [":                                 {"imag_size": 64},
		"model: argument attn_dropout of VideoTokenizer: 0.1: there is no dropout here":                  {"attn_dropout": .1},
		"model: argument layers of VideoTokenizer: [7]: want a string":                                   {"layers": []any{7}},
		"model: argument init_dim of VideoTokenizer: 1.5: want a whole number":                           {"init_dim": 1.5},
		"model: argument use_fsq of VideoTokenizer: 1: want true or false":                               {"use_fsq": 1},
		"model: argument input_conv_kernel_size of VideoTokenizer: [3 3]: want one number or three":      {"input_conv_kernel_size": []any{3, 3}},
		"model: argument layers of VideoTokenizer: residual: want a list of layers":                      {"layers": "residual"},
		"model.layers[0]: cond_attend_space: the reference's own cannot run; leave compat out":           {"layers": []any{"cond_attend_space"}, "dim_cond": 4, "codebook_size": 64},
		"model.quantizer.codebook_size: 0: want a power of two":                                          {},
		"model.pad_mode: \"zeros\": want constant, replicate, reflect, circular":                         {"pad_mode": "zeros", "codebook_size": 64},
		"model: argument layers of VideoTokenizer: [[residual 1 2]]: a layer of 3 values: want a name, ": {"layers": []any{[]any{"residual", 1, 2}}},
	} {
		if _, err := FromReference(args); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

func TestReferenceLayout(t *testing.T) {
	p := Param{Shape: []int{2, 1, 1, 2, 3}} // two output channels, two taps in a row, three input channels
	ours := []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	theirs := []float32{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}
	got := make([]float32, 12)
	if p.ToReference(got, ours); !cmp.Equal(got, theirs) {
		t.Errorf("to the reference's order: %v, want %v", got, theirs)
	}
	if p.FromReference(got, theirs); !cmp.Equal(got, ours) {
		t.Errorf("back: %v, want %v", got, ours)
	}
	p.Shape = []int{3, 4}
	if p.ToReference(got, ours); !cmp.Equal(got, ours) {
		t.Errorf("a matrix becomes %v", got)
	}
}

func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`model.layers[1]: "compres_space": want residual, consecutive_residual, cond_residual, compress_space, compress_time, attend_space`: func(c *Config) { c.Layers[1].Name = "compres_space" },
		"model.image_size: 18: patch 2 and 1 compress_space need a multiple of 4":                                                           func(c *Config) { c.ImageSize = 18 },
		"model.init_dim: -3: want 1 to 4096":                                    func(c *Config) { c.InitDim = -3 },
		"model.quantizer.levels[2]: 2: want 3 to 1024":                          func(c *Config) { c.Quantizer.Levels[2] = 2 },
		"model.quantizer.codebook_size: 1000: want a power of two, 2 to 262144": func(c *Config) { *c = withLFQ(1000) },
		"model.input_kernel: [1 2 3]: want 1 to 15, odd in height and width":    func(c *Config) { c.InputKernel[1] = 2 },
		"model.layers[0]: residual has no dim":                                  func(c *Config) { c.Layers[0].Dim = 3 },
		"model.layers: 64 times compress_space: want at most 10": func(c *Config) {
			c.Layers = slices.Repeat([]Layer{{Name: CompressSpace}}, 64)
		},
		"model.loss.overshoot: NaN: want 0 to 1":                             func(c *Config) { c.Loss.Overshoot = math.NaN() },
		"model.quantizer.levels: [1000 1000 1000]: more than 16777216 codes": func(c *Config) { c.Quantizer.Levels = []int{1000, 1000, 1000} },
		"model.quantizer.codebook_size: 64: fsq has levels instead":          func(c *Config) { c.Quantizer.CodebookSize = 64 },
		"model.layers[2]: compress_time has no kernel of its own":            func(c *Config) { c.Layers[2].Kernel = Kernel{3, 1, 1} },
		"model.quantizer.kind: \"rvq\": want fsq, lfq, vq, bsq":              func(c *Config) { c.Quantizer.Kind = "rvq" },
		"model.layers[0]: residual has no antialias":                         func(c *Config) { c.Layers[0].Antialias = true },
		"model.layers[1]: compress_space has no dilation":                    func(c *Config) { c.Layers[1].Dilation = 2 },
		"model.dim_cond: 0 times cond_expansion 4: want at least 1":          func(c *Config) { c.Layers[0] = Layer{Name: CondAttendTime} },
		"model.dim_cond: 3: no layer takes a condition":                      func(c *Config) { c.DimCond = 3 },
		"model.separate_first_frame: true: clips have no":                    func(c *Config) { c.SeparateFirstFrame = true },
		"model.compat: \"lucid\": want lucidrains":                           func(c *Config) { c.Compat = "lucid" },
		"model.patch: 2: want 1 with compat lucidrains":                      func(c *Config) { c.Compat = Lucidrains },
		"model.layers[0].kernel: [1 3 3]: the reference has one residual_kernel": func(c *Config) {
			c.Compat, c.Patch, c.Background, c.SqueezeExcite, c.LatentNorm = Lucidrains, 1, 0, "closed", "none"
		},
		"model.quantizer.soft_clamp: -1: want 0 to 10000":      func(c *Config) { *c = withLFQ(64); c.Quantizer.SoftClamp = -1 },
		"model.squeeze_excite: \"\": want none, open, closed":  func(c *Config) { c.SqueezeExcite = "" },
		"model.quantizer.levels: their number: 0: want 1 to 8": func(c *Config) { c.Quantizer.Levels = nil },
	} {
		c := small()
		c.Layers = append([]Layer(nil), c.Layers...)
		change(&c)
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	tok := create(t, small())
	for want, s := range map[string]Shape{
		"model: 3 frames: this tokenizer takes 2 or 4 (a multiple of 2)":                                     {1, 3, 16, 16},
		"model: frames of 16×18 pixels (height × width): this tokenizer takes multiples of 4, such as 16×20": {1, 4, 16, 18},
		"model: a batch of 0 clips of 4 frames of 16×16 pixels: want at least one of each":                   {0, 4, 16, 16},
		"model: a batch of 1 clips of 1048576 frames of 4096×4096 pixels has more than 2^31 values; use a s": {1, 1 << 20, 4096, 4096},
	} {
		if err := tok.Check(s); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestConfigYAML(t *testing.T) {
	c := every()
	text, err := yaml.Marshal(c)
	check(t, err)
	var back Config
	if err := yaml.Unmarshal(text, &back); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("written and read (-want +got): %s\n%s", diff, text)
	}
	var l []Layer
	check(t, yaml.Unmarshal([]byte("[residual, [consecutive_residual, 2], [compress_space, 96], {name: residual, kernel: [1, 3, 3]}, {name: residual, kernel: 5, dilation: 2}, {name: compress_time, antialias: true}, cond_attend_time]"), &l))
	want := []Layer{{Name: Residual}, {Name: ConsecutiveResidual, N: 2}, {Name: CompressSpace, Dim: 96}, {Name: Residual, Kernel: Kernel{1, 3, 3}}, {Name: Residual, Kernel: Kernel{5, 5, 5}, Dilation: 2}, {Name: CompressTime, Antialias: true}, {Name: CondAttendTime}}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Error("layers (-want +got):", diff)
	}
	for _, bad := range []string{"[[residual, 1, 2]]", "[{nam: residual}]", "[{name: residual, kernel: [1, 3]}]"} {
		if err := yaml.Unmarshal([]byte(bad), &l); err == nil || !strings.Contains(fmt.Sprint(err), "line 1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Every kind of quantizer is legal by its name, and no other name is.
func TestQuantizerKinds(t *testing.T) {
	for _, k := range quantizers {
		c := small()
		c.Quantizer.Kind = k.kind
		if q, err := c.Quantizer.of(); err != nil || q == nil {
			t.Errorf("%s: %v", k.kind, err)
		}
	}
	c := small()
	c.Quantizer.Kind = "vector"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), `model.quantizer.kind: "vector": want fsq, lfq, vq, bsq`) {
		t.Errorf("error %v, want one that names the kinds", err)
	}
	if _, err := c.Quantizer.UsesFSQ(); err == nil {
		t.Error("an unknown quantizer has an argument use_fsq")
	}
}
