package mpi

import "testing"

func TestLaunched(t *testing.T) {
	for _, c := range []struct {
		set  map[string]string
		want int
		by   string
	}{
		{nil, 1, ""},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4"}, 4, "Open MPI's mpirun"},
		{map[string]string{"PMI_SIZE": "2"}, 2, "mpiexec"},
		{map[string]string{"SLURM_STEP_NUM_TASKS": "8"}, 8, "srun"},
		{map[string]string{"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 1, ""}, // a batch script
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "2"}, 1, ""},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"}, 4, "Open MPI's mpirun"},
	} {
		t.Run("", func(t *testing.T) {
			for _, l := range launchers {
				t.Setenv(l.variable, "")
			}
			for name, v := range c.set {
				t.Setenv(name, v)
			}
			if n, by := Launched(); n != c.want || by != c.by {
				t.Errorf("%v: %d by %q, want %d by %q", c.set, n, by, c.want, c.by)
			}
		})
	}
}
