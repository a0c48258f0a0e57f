package trainer

import (
	"errors"
	"fmt"

	"magvit/trainer/data"
)

// ErrUsage is what errors.Is finds in every error that the user's files, settings
// or choices caused.
var ErrUsage = data.ErrInput

// ErrInterrupted is what errors.Is finds in the error of a run that was asked to
// stop and saved a checkpoint first.
var ErrInterrupted = errors.New("interrupted")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == ErrUsage }
func (e usageError) Unwrap() error      { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
