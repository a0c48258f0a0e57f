package trainer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/trainer/task"
	"magvit/trainer/trainertest"
)

// written counts the values that are written to a backend.
type written struct {
	kernels.Backend
	values int
}

func (w *written) Write(dst kernels.Buffer, src []float32) error {
	w.values += len(src)
	return w.Backend.Write(dst, src)
}

// A codec that is opened for encoding or decoding alone gives the same results, with only
// the weights of its half in memory, or with weights that stay in the file.
func TestHalfOfACodec(t *testing.T) {
	o, _ := small(t, "train.steps=2")
	run(t, t.Context(), o)
	both := &written{Backend: o.Backend}
	whole, err := task.OpenCodec(both, o.Out)
	trainertest.Check(t, err)
	encoding, decoding := &written{Backend: o.Backend}, &written{Backend: o.Backend}
	encoder, err := task.OpenEncoder(encoding, o.Out)
	trainertest.Check(t, err)
	decoder, err := task.OpenDecoder(decoding, o.Out)
	trainertest.Check(t, err)
	if n := whole.Tokenizer.NumParams(); both.values != n || encoding.values+decoding.values < n || max(encoding.values, decoding.values) > n*6/10 {
		t.Errorf("%d values written for both halves, %d for the encoder, %d for the decoder, of %d", both.values, encoding.values, decoding.values, n)
	}
	if encoder.SHA256 != whole.SHA256 || decoder.SHA256 != whole.SHA256 {
		t.Errorf("hashes %s, %s and %s of the same weights", whole.SHA256, encoder.SHA256, decoder.SHA256)
	}
	s := whole.VideoShape([5]int{1, 2, 2, 2, 1})
	video := make([]float32, s.Values())
	for i := range video {
		video[i] = float32(i*i%251) / 251
	}
	want, err := whole.Encode(video, s)
	trainertest.Check(t, err)
	got, err := encoder.Encode(video, s)
	trainertest.Check(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("codes %v, want %v", got, want)
	}
	clip, err := whole.Decode(want, s)
	trainertest.Check(t, err)
	same, err := decoder.Decode(want, s)
	trainertest.Check(t, err)
	if !slices.Equal(clip, same) {
		t.Error("another clip from the decoder alone")
	}
	offloading := &written{Backend: o.Backend}
	encoder, err = task.OffloadEncoder(offloading, o.Out)
	trainertest.Check(t, err)
	decoder, err = task.OffloadDecoder(offloading, o.Out)
	trainertest.Check(t, err)
	if offloading.values != 0 || encoder.SHA256 != whole.SHA256 {
		t.Errorf("%d values written before the first clip, hash %s, want 0 and %s", offloading.values, encoder.SHA256, whole.SHA256)
	}
	for range 2 {
		got, err = encoder.Encode(video, s)
		trainertest.Check(t, err)
		same, err = decoder.Decode(want, s)
		trainertest.Check(t, err)
		if !slices.Equal(got, want) || !slices.Equal(clip, same) {
			t.Error("other codes or another clip with weights in the file")
		}
	}
	for _, c := range []*task.Codec{whole, encoder, decoder} { // within a clip
		asked := 0
		c.Stopped = func() error {
			if asked++; asked == 3 {
				return context.Canceled
			}
			return nil
		}
		if c == decoder {
			_, err = c.Decode(want, s)
		} else {
			_, err = c.Encode(video, s)
		}
		if !errors.Is(err, context.Canceled) || asked != 3 {
			t.Errorf("stopped at the third launch: %v after %d questions", err, asked)
		}
	}
	got, err = encoder.Encode(video, s)
	trainertest.Check(t, err)
	if !slices.Equal(got, want) {
		t.Error("other codes after an Encode that was stopped")
	}
	_, err = encoder.Decode(want, s)
	trainertest.Refused(t, err, "opened for encoding alone")
	_, err = decoder.Encode(video, s)
	trainertest.Refused(t, err, "opened for decoding alone")
}
