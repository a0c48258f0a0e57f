package usage

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestMarksSurviveWrapping(t *testing.T) {
	inner := Errorf("clips.npz: %w", fs.ErrNotExist)
	for _, err := range []error{inner, fmt.Errorf("train: %w", inner), errors.Join(errors.New("other"), inner), Wrap(fs.ErrNotExist)} {
		if !errors.Is(err, Error) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: the mark or the cause is lost", err)
		}
	}
	if inner.Error() != "clips.npz: file does not exist" {
		t.Errorf("the mark changes the text: %q", inner)
	}
	if unmarked := errors.New("unmarked"); errors.Is(unmarked, Error) || Wrap(nil) != nil {
		t.Error("what nobody marked is marked")
	}
}
