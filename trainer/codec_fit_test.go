package trainer

import (
	"slices"
	"testing"

	"magvit/model"
)

// TestFirstWeightsAreFittedToTheClips begins runs on grey squares: fitted weights are those of the amplitudes that were
// measured before they were drawn.
func TestFirstWeightsAreFittedToTheClips(t *testing.T) {
	first := func(kind string) (weights []float32, tok *model.Tokenizer) {
		o, _ := small(t, "model.initial_weights="+kind, "model.patch_transform=lapped", "model.latent_norm=none", "model.layers=[residual]", "train.steps=1")
		tr := begun(t, o)
		arena, err := tr.state.Read(tr.state.Params)
		if err != nil {
			t.Fatal(err)
		}
		tok = tr.net.(*model.Tokenizer)
		i := slices.IndexFunc(tok.Params, func(p model.Param) bool { return p.Name == "conv_in.conv.weight" })
		want := make([]float32, tok.Params[i].Len())
		tok.Init(0, i, want)
		if !slices.Equal(tr.state.Part(arena, i), want) {
			t.Errorf("%s: weights that the network with its amplitudes does not begin with", kind)
		}
		return want, tok
	}
	natural, tok := first("codec")
	if tok.Amplitudes != nil {
		t.Errorf("codec: amplitudes %v, want none", tok.Amplitudes)
	}
	fitted, tok := first("codec-fitted")
	if len(tok.Amplitudes) != 48 || slices.Equal(natural, fitted) {
		t.Errorf("codec-fitted: %d amplitudes, want 48 that change the weights", len(tok.Amplitudes))
	}
}
