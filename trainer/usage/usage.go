// Package usage marks the errors that a user's files, settings or choices caused.
//
// Why a mark and no type: commands ask one question of an error, whether exit status 2
// is right, and errors from any depth answer it through their wrapping.
package usage

import (
	"errors"
	"fmt"
)

// Error is what errors.Is finds in every marked error.
var Error = errors.New("bad input")

type marked struct{ error }

func (marked) Is(target error) bool { return target == Error }
func (m marked) Unwrap() error      { return m.error }

// Errorf is fmt.Errorf with the mark.
func Errorf(format string, args ...any) error { return marked{fmt.Errorf(format, args...)} }

// Wrap marks an error; nil stays nil.
func Wrap(err error) error {
	if err == nil {
		return nil
	}
	return marked{err}
}
