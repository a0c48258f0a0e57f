//go:build gpu

package gpu

import "fmt"

// cudaError is what a call of the driver failed with.
type cudaError struct {
	code int
	name string // CUDA_ERROR_...
	text string // the driver's own few words
}

func (e cudaError) Error() string {
	s := e.name
	if e.text != "" {
		s += fmt.Sprintf(" (%s)", e.text)
	}
	if a := advice[e.code]; a != "" {
		s += ": " + a
	}
	return s
}

// The numbers of CUresult that something can be done about.
const (
	outOfMemory  = 2
	invalidImage = 200 // also of code in a form that the driver is too old for
	noBinary     = 209
	invalidPTX   = 218
	newerPTX     = 222
	notFound     = 500
)

const outside = "a kernel read or wrote outside of its memory, which is a defect of this program; with CUDA_LAUNCH_BLOCKING=1 the error names the kernel"

var advice = map[int]string{
	1:   "the sizes do not suit this GPU",
	46:  "another process has the GPU for itself (nvidia-smi -q -d COMPUTE shows its compute mode)",
	100: "the driver sees no GPU; CUDA_VISIBLE_DEVICES may hide it, a container may not have it (nvidia-smi must list it)",
	101: "CUDA_VISIBLE_DEVICES names no GPU of this machine",
	700: outside,
	701: "a block needs more registers or shared memory than this GPU has",
	702: "a kernel was stopped by the time limit of a display; use a GPU without one",
	716: outside,
	719: outside,
	802: "the GPUs of this machine are still starting, or its fabric manager is not running (systemctl status nvidia-fabricmanager)",
	803: "the driver was updated while it ran; restart the machine",
	804: "the CUDA compatibility package does not suit this GPU; remove it or update the driver",
	999: "the driver cannot start; after an update restart the machine, after a suspend reload the module nvidia_uvm",
}
