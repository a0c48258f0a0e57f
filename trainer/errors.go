package trainer

import "errors"

// ErrInterrupted is what errors.Is finds in the error of a run that was asked to
// stop and saved a checkpoint first.
var ErrInterrupted = errors.New("interrupted")
