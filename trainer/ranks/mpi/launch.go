// Package mpi runs the ranks of a training as processes that an MPI launcher started.
//
// Open returns a ranks.Transport over MPI in programs built with the tag mpi (make mpi), for the
// MPI library whose mpicc compiled them; other programs refuse a launcher of several
// processes, and say how to get one that does not.
//
// Why compiled against mpi.h and not opened at run time: handles and constants differ between
// libraries, and an administrator's mpicc knows the flags of a cluster's own.
package mpi

import (
	"os"
	"strconv"
)

// launchers are the variables in which a launcher gives the number of its processes. Slurm sets
// SLURM_NTASKS and SLURM_PROCID for a batch script too; they prove nothing.
var launchers = []struct{ variable, name string }{
	{"OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun"},
	{"PMI_SIZE", "mpiexec"},
	{"SLURM_STEP_NUM_TASKS", "srun"},
}

// Launched returns how many processes a launcher has started this one among, and the
// launcher's name; 1 and "" if there is none.
func Launched() (size int, by string) {
	for _, l := range launchers {
		if n, err := strconv.Atoi(os.Getenv(l.variable)); err == nil {
			if n < 2 {
				break // srun may have started the launcher that starts this process
			}
			return n, l.name
		}
	}
	return 1, ""
}
