package gpu

import (
	"errors"
	"fmt"
)

// ErrNoGPU says that this build cannot run kernels on a GPU.
var ErrNoGPU = errors.New("gpu: this build has no GPU code (make gpu builds one)")

// ErrNoDriver says that this machine has no driver for GPUs.
var ErrNoDriver = errors.New("gpu: no NVIDIA driver is found (install one, in a container run it with --gpus all; nvidia-smi must list the GPU)")

// Info describes a GPU.
type Info struct {
	Name         string
	Architecture string // sm_90
	SMs          int
	Memory       int64  // bytes
	Driver       string // its version, and that of CUDA
}

func (i Info) String() string {
	return fmt.Sprintf("%s, %s, %d SMs, %.1f GB, driver %s", i.Name, i.Architecture, i.SMs, float64(i.Memory)/1e9, i.Driver)
}
