//go:build !gpu

package gpu

import "magvit/kernels"

// Open starts the machine's GPU, which computes products in the precision. Without the
// tag gpu there is no code for one: the error is ErrNoGPU.
func Open(kernels.Precision) (*Device, error) { return nil, ErrNoGPU }

// Devices lists the GPUs of this machine. Its error is that of Open.
func Devices() ([]Info, error) { return nil, ErrNoGPU }

// Built is what the GPU code of this build was compiled for: nothing.
func Built() string { return "" }

// NCCL is the version of libnccl. Its error is that of Open.
func NCCL() (string, error) { return "", ErrNoGPU }

// NewUniqueID is for Connect. Its error is that of Open.
func NewUniqueID() (UniqueID, error) { return UniqueID{}, ErrNoGPU }
