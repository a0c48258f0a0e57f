//go:build !gpu

package gpu

// Open starts the machine's GPU. Without the tag gpu there is no code for one: the
// error is ErrNoGPU.
func Open() (*Device, error) { return nil, ErrNoGPU }
