// Package gpu runs kernels on an NVIDIA GPU.
//
// Package kernels plans a Spec as launches of the functions in kernels/*.cu; Prepare
// looks these up, Run fills in addresses and enqueues them. The interface driver
// is the machine that runs them: with the tag emul it is package emul, which runs the same
// sources on the host. A build without a tag has no driver and says so.
package gpu

import (
	"errors"
	"fmt"

	"magvit/kernels"
)

// driver is all that Device asks of a machine. Addresses count bytes, lengths count
// float32 values. More methods are optional: forgetter, mapper, capturer, connecter.
type driver interface {
	// Name is the device in a few words.
	Name() string
	// Function finds a kernel by its name. It may use all the shared memory there is.
	Function(name string) (uint64, error)
	// Alloc returns the address of n zeros, Free gives them back.
	Alloc(n int) (uint64, error)
	Free(address uint64)
	// Write and Read copy and keep the order of launches.
	Write(dst uint64, src []float32) error
	Read(dst []float32, src uint64) error
	// Launch enqueues the launches of a list, which may be changed after the call. If
	// one fails it stops there and returns its number.
	Launch(list []byte) (int, error)
	// Sync waits for everything enqueued.
	Sync() error
	Close() error
}

// forgetter is a driver that is told when values have no meaning any more.
type forgetter interface{ Forget(address uint64, n int) }

// mapper is a driver that makes descriptors for the copies of whole boxes of a tensor.
type mapper interface {
	TensorMap(address uint64, m kernels.TensorMap) ([kernels.TensorMapSize]byte, error)
}

// capturer is a driver that keeps a list, to enqueue it again with less work.
type capturer interface {
	// Capture fails as Launch does. What it returns is good until the device is closed.
	Capture(list []byte) (replay func() error, n int, err error)
}

// Device is a kernels.Backend on a driver.
type Device struct {
	drv       driver
	precision kernels.Precision
	owned     []uint64 // what Alloc handed out
	bytes     int64    // of owned and workspace
	workspace uint64   // one for all kernels, as they run one after another
	size      int      // values of workspace
	list      list     // of the kernel that runs, or of all that Record is told
	record    bool     // list grows, nothing is launched
	second    bool     // list grows by what overlaps, see Overlap
	peers     Peers    // the zero value without other ranks
	noGraphs  bool
	err       error // the first one since the last Sync
}

// buffer is a stretch of a device's memory.
type buffer struct {
	address uint64
	n       int
}

func (b buffer) Len() int { return b.n }

func (b buffer) Slice(from, to int) kernels.Buffer {
	if from < 0 || to < from || to > b.n {
		panic(fmt.Sprintf("gpu: slice [%d,%d) of a buffer of %d values", from, to, b.n))
	}
	return buffer{b.address + 4*uint64(from), to - from}
}

// Precision is what the products of convolutions are computed in, and activations stored in.
func (d *Device) Precision() kernels.Precision { return d.precision }

// StoresBF16 reports whether activations may be stored in bfloat16.
func (d *Device) StoresBF16() bool { return d.precision == kernels.BF16 }

// FusesGradients reports that there are kernels for several gradients at once.
func (d *Device) FusesGradients() bool { return true }

// Name is the device in a few words.
func (d *Device) Name() string { return d.drv.Name() }

// Info describes the device, by its name alone if it is no GPU.
func (d *Device) Info() Info {
	if i, ok := d.drv.(interface{ Info() Info }); ok {
		return i.Info()
	}
	return Info{Name: d.Name()}
}

// Alloc returns n zeros.
func (d *Device) Alloc(n int) (kernels.Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("gpu: alloc of %d values", n)
	}
	p, err := d.alloc(n)
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	d.owned = append(d.owned, p)
	return buffer{p, n}, nil
}

func (d *Device) alloc(n int) (uint64, error) {
	p, err := d.drv.Alloc(n)
	var m *kernels.MemoryError
	if errors.As(err, &m) {
		m.Used = d.bytes
	}
	if err != nil {
		return 0, err
	}
	d.bytes += 4 * int64(n)
	return p, nil
}

// Write copies src to the start of dst.
func (d *Device) Write(dst kernels.Buffer, src []float32) error {
	if len(src) > dst.Len() {
		return fmt.Errorf("gpu: write of %d values to a buffer of %d", len(src), dst.Len())
	}
	return d.drv.Write(dst.(buffer).address, src)
}

// Read copies the start of src to dst.
func (d *Device) Read(dst []float32, src kernels.Buffer) error {
	if len(dst) > src.Len() {
		return fmt.Errorf("gpu: read of %d values from a buffer of %d", len(dst), src.Len())
	}
	return d.drv.Read(dst, src.(buffer).address)
}

// Sync waits for everything enqueued and returns the first error of it.
func (d *Device) Sync() error {
	err := d.drv.Sync()
	if d.err != nil {
		err = d.err
	}
	d.err = nil
	return err
}

// Allocated is the memory in use, in bytes.
func (d *Device) Allocated() int64 { return d.bytes }

// WorkspaceBytes is the memory that a kernel needs besides its arguments; all share it.
func (d *Device) WorkspaceBytes(s kernels.Spec) int64 {
	l, err := d.Launches(s)
	if err != nil {
		return 0 // Prepare returns it
	}
	return 4 * int64(l.Workspace)
}

// Close gives all memory back.
func (d *Device) Close() error {
	for _, p := range append(d.owned, d.workspace) {
		if p != 0 {
			d.drv.Free(p)
		}
	}
	d.owned, d.workspace, d.size, d.bytes = nil, 0, 0, 0
	return d.drv.Close()
}

// reserve makes sure that the workspace holds n values.
func (d *Device) reserve(n int) error {
	if n <= d.size {
		return nil
	}
	if err := d.drv.Sync(); err != nil {
		return err
	}
	p, err := d.alloc(n)
	if err != nil {
		return fmt.Errorf("%d values of workspace: %w", n, err)
	}
	if d.workspace != 0 {
		d.drv.Free(d.workspace)
		d.bytes -= 4 * int64(d.size)
	}
	d.workspace, d.size = p, n
	return nil
}

// Prepare decides launches and packs their arguments. Its error names s.
func (d *Device) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	k, err := d.prepare(s)
	if err != nil {
		return nil, fmt.Errorf("gpu: %s: %w", kernels.Name(s), err)
	}
	return k, nil
}

func (d *Device) prepare(s kernels.Spec) (*kernel, error) {
	l, err := d.Launches(s)
	if err != nil {
		return nil, err
	}
	return d.link(s, l)
}

// Launches is how the device computes a Spec.
func (d *Device) Launches(s kernels.Spec) (*kernels.Launches, error) {
	return kernels.LaunchesOf(s, d.precision, d.Info().Architecture)
}

// link looks up the functions of the launches of s.
func (d *Device) link(s kernels.Spec, launches *kernels.Launches) (*kernel, error) {
	if err := d.reserve(launches.Workspace); err != nil {
		return nil, err
	}
	k := &kernel{dev: d, spec: s, workspace: launches.Workspace}
	for _, a := range s.Args() {
		k.lens = append(k.lens, a.Words())
	}
	for _, l := range launches.List {
		f, err := d.drv.Function(l.Kernel)
		if err != nil {
			return nil, err
		}
		params := l.Params()
		if _, ok := d.drv.(mapper); !ok && len(params.Maps) > 0 {
			return nil, fmt.Errorf("kernel %s: %s has no tensor maps", l.Kernel, d.Name())
		}
		k.launches = append(k.launches, packed{l, params, s, f, pack(params)})
	}
	return k, nil
}

// kernel is a Spec's launches with their functions looked up.
type kernel struct {
	dev       *Device
	spec      kernels.Spec
	lens      []int
	workspace int
	launches  []packed
}
