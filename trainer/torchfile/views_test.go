package torchfile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func float32Tensor(t testing.TB, shape ...int) *Tensor {
	t.Helper()
	n, err := count(shape)
	if err != nil {
		t.Fatal(err)
	}
	tensor, err := FromFloat32(shape, make([]float32, n))
	if err != nil {
		t.Fatal(err)
	}
	return tensor
}

// trainerTree is the root of a trainer file with one weight and one bias, both updated once.
func trainerTree(t testing.TB) *Dict {
	weight, bias, one := float32Tensor(t, 2, 3), float32Tensor(t, 2), float32Tensor(t)
	slots := func(tensor *Tensor) *Dict {
		return NewDict().Set("step", one).Set("exp_avg", tensor).Set("exp_avg_sq", tensor)
	}
	group := func(n int64) *Dict { return NewDict().Set("lr", 0.1).Set("params", &List{[]any{n}}) }
	return NewDict().
		Set("model", NewDict().Set("conv_in.conv.bias", bias).Set("conv_in.conv.weight", weight)).
		Set("ema_model", NewDict().Set("initted", true).Set("step", int64(3)).Set("ema_model.conv_in.conv.weight", weight)).
		Set("optimizer", NewDict().
			Set("state", NewDict().Set(int64(0), slots(weight)).Set(int64(1), slots(bias))).
			Set("param_groups", &List{[]any{group(0), group(1)}})).
		Set("step", int64(5))
}

func child(d *Dict, path ...any) *Dict {
	for _, key := range path {
		v, _ := d.Lookup(key)
		d = v.(*Dict)
	}
	return d
}

func viewTrainer(t testing.TB, root *Dict) (*Trainer, error) {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, root); err != nil {
		t.Fatal(err)
	}
	f, err := read(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f.Trainer()
}

func TestTrainerView(t *testing.T) {
	tr, err := viewTrainer(t, trainerTree(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tr.Optimizer.Names, tr.AverageInitted, tr.AverageStep, tr.Step, tr.Discriminator == nil); got != "[conv_in.conv.weight conv_in.conv.bias] true 3 5 true" {
		t.Error(got)
	}
	for message, change := range map[string]func(root *Dict){
		`no "model", want a dict of tensors`:     func(root *Dict) { root.Entries[0].Key = "modle" },
		`"step" is a string, want an int`:        func(root *Dict) { root.Set("step", "5") },
		`tokenizer file`:                         func(root *Dict) { root.Set("model_state_dict", nil) },
		`"x" is a float, want a tensor`:          func(root *Dict) { child(root, "model").Set("x", 0.5) },
		`an int as a tensor's name`:              func(root *Dict) { child(root, "model").Set(int64(1), nil) },
		`key "online.x" is not known`:            func(root *Dict) { child(root, "ema_model").Set("online.x", nil) },
		`ema_model: "step" is a tensor of shape`: func(root *Dict) { child(root, "ema_model").Set("step", float32Tensor(t, 2)) },
		`ema_model: "step" is 0.5, want a whole`: func(root *Dict) { child(root, "ema_model").Set("step", 0.5) },
		`2 parameters in the groups, 3 in the`:   func(root *Dict) { child(root, "model").Set("conv_out.x", float32Tensor(t, 1)) },
		`not those with two or more axes`:        func(root *Dict) { child(root, "model").Set("conv_in.conv.weight", float32Tensor(t, 6)) },
		`state 0 (conv_in.conv.weight): exp_avg_sq has shape [3 2], the parameter [2 3]`: func(root *Dict) {
			child(root, "optimizer", "state", int64(0)).Set("exp_avg_sq", float32Tensor(t, 3, 2))
		},
		`no "exp_avg", want a tensor`: func(root *Dict) {
			child(root, "optimizer", "state").Set(int64(1), NewDict().Set("step", int64(1)))
		},
		`state "2" is a dict of 0`: func(root *Dict) { child(root, "optimizer", "state").Set(int64(2), NewDict()) },
		`param_groups[1] is an int`: func(root *Dict) {
			child(root, "optimizer").Set("param_groups", &List{[]any{NewDict().Set("params", &List{}), int64(1)}})
		},
		`parameter 0 is not numbered 0`: func(root *Dict) {
			child(root, "optimizer").Set("param_groups", &List{[]any{NewDict().Set("params", &List{[]any{int64(1)}})}})
		},
	} {
		root := trainerTree(t)
		change(root)
		if _, err := viewTrainer(t, root); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// Adam without decay has one group, and its numbers follow the model alone.
func TestOneGroup(t *testing.T) {
	root := trainerTree(t)
	state := child(root, "optimizer", "state")
	state.Entries[0].Value, state.Entries[1].Value = state.Entries[1].Value, state.Entries[0].Value
	child(root, "optimizer").Set("param_groups", &List{[]any{NewDict().Set("params", &List{[]any{int64(0), int64(1)}})}})
	tr, err := viewTrainer(t, root)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tr.Optimizer.Names); got != "[conv_in.conv.bias conv_in.conv.weight]" {
		t.Error(got)
	}
}

func TestTokenizerView(t *testing.T) {
	state := str("model_state_dict") + "}"
	rest := str("version") + str("0.5.1") + "s" + str("config") + "c_codecs\nencode\n" + str("x") + str("latin1") + "\x86Rs"
	one := tensorOf("FloatStorage", "0", "K\x04", "K\x00", "K\x04\x85", "K\x01\x85")
	var many strings.Builder
	for i := range 5 {
		many.WriteString(str(fmt.Sprint("t", i)) + one)
	}
	for message, pickle := range map[string]string{
		"":                              pk("}", state, "(", str("a"), one, "us", rest),
		"a tokenizer file holds a dict": pk("]"),
		`no "config", want bytes; there are: model_state_dict, version`: pk("}", state, "s", str("version"), str("0.5.1"), "s"),
		`"version" is None, want a string`:                              pk("}", state, "s", str("version"), "Ns"),
		"this is a trainer file":                                        pk("}", str("ema_model"), "}s"),
		"too much is shared":                                            pk("}", state, "(", many.String(), "us", rest),
	} {
		f, err := read(archiveOf(t, pickle, fourFloats...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.Tokenizer(); (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
	}
	for message, config := range map[string]string{
		"config is a list of 0, want a dict":         pk("]"),
		"config has an int as an argument's name":    pk("}K\x01Ns"),
		"a tensor where only plain values may be":    pk(one),
		"config: pickle at byte 0: starts with byte": "{'image_size': 16}",
	} {
		if _, _, err := (&Tokenizer{Config: []byte(config)}).Arguments(Limits{}); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", message, err)
		}
	}
}
