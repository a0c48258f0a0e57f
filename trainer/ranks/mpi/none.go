//go:build !mpi

package mpi

import (
	"time"

	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

// Library is the MPI library that the program was built for, "" for none.
const Library = ""

// Open returns nil for a process on its own, and an error for one of several.
func Open() (ranks.Transport, error) {
	if n, by := Launched(); n > 1 {
		return nil, usage.Errorf("%s started %d processes, and this program was built without MPI: each would train alone; build it with make mpi, or start it without a launcher", by, n)
	}
	return nil, nil
}

// Exit never returns.
func Exit(ranks.Transport, int, time.Duration) { panic("mpi: Exit without Open") }
