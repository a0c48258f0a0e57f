//go:build !unix

package rundir

import "os"

// lock does nothing where there is no flock: two trainers in one run directory
// are not detected there.
func lock(*os.File) error { return nil }
