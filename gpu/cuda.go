//go:build gpu

package gpu

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"magvit/kernels"
)

// What make gpu compiled: a file of machine code for each .cu file.
//
//go:embed fatbin
var compiled embed.FS

// Built is what the GPU code of this build was compiled for, and by which CUDA.
func Built() string {
	archs, release := built()
	return archs + " by CUDA " + release
}

func built() (archs, release string) {
	text, err := compiled.ReadFile("fatbin/built.txt")
	if err != nil {
		panic(err) // it is part of the program
	}
	archs, release, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	return strings.TrimSpace(archs), release
}

// Devices lists the GPUs of this machine, the first of which Open takes. Its error is
// ErrNoDriver, or what the driver says.
func Devices() ([]Info, error) {
	if err := openLibrary(); err != nil {
		return nil, err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, named(err)
	}
	var all []Info
	for i := range n {
		dev, err := cu.GetDevice(i)
		if err != nil {
			return nil, named(err)
		}
		info, err := inform(dev)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

func inform(dev cu.Device) (info Info, err error) {
	values := map[cu.DeviceAttribute]int{cu.ComputeCapabilityMajor: 0, cu.ComputeCapabilityMinor: 0, cu.MultiprocessorCount: 0}
	for a := range values {
		if values[a], err = dev.Attribute(a); err != nil {
			return info, named(err)
		}
	}
	if info.Name, err = dev.Name(); err != nil {
		return info, named(err)
	}
	if info.Memory, err = dev.TotalMem(); err != nil {
		return info, named(err)
	}
	info.SMs = values[cu.MultiprocessorCount]
	info.Architecture = fmt.Sprintf("sm_%d%d", values[cu.ComputeCapabilityMajor], values[cu.ComputeCapabilityMinor])
	info.Driver = fmt.Sprintf("CUDA %d.%d", cu.Version()/1000, cu.Version()%1000/10)
	if v, err := os.ReadFile("/sys/module/nvidia/version"); err == nil {
		info.Driver = strings.TrimSpace(string(v)) + ", " + info.Driver
	}
	return info, nil
}

// named gives an error of gorgonia.org/cu, a number of a type of its own, CUDA's name.
func named(err error) error {
	if v := reflect.ValueOf(err); err != nil && v.Kind() == reflect.Int {
		return failed(int(v.Int()))
	}
	return err
}

// cuda is a GPU driven by libcuda. Kernels and small copies follow each other in one
// stream; large copies to the device use a second one (see upload.go).
//
// Why calls are not made through cu.Ctx: it hands each to a goroutine with a thread of
// its own, 50 µs a call. Here a call makes the context current on its own thread.
type cuda struct {
	calls
	dev     cu.Device
	context cu.CUContext
	info    Info
	compute cu.Stream
	upload  uploads
	shared  int // bytes of a block, at most
	modules []unsafe.Pointer
	absent  []string // files without code for this device
	graphs  []unsafe.Pointer
}

// Open starts the machine's first GPU, which computes products in the precision;
// CUDA_VISIBLE_DEVICES chooses another. The error is ErrNoDriver, or says what the driver says and what to do.
func Open(p kernels.Precision) (*Device, error) {
	if err := openLibrary(); err != nil {
		return nil, err
	}
	dev, err := cu.GetDevice(0)
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", named(err))
	}
	c := &cuda{dev: dev}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("gpu: %s: %w", c.info.Name, err)
	}
	return &Device{drv: c, precision: p}, nil
}

func (c *cuda) open() (err error) {
	if c.info, err = inform(c.dev); err != nil {
		return err
	}
	if c.context, err = c.dev.RetainPrimaryCtx(); err != nil {
		return named(err)
	}
	// The same context as C knows it: it is all that the struct holds.
	c.ctx = *(*unsafe.Pointer)(unsafe.Pointer(&c.context))
	c.wait = os.Getenv("CUDA_LAUNCH_BLOCKING") == "1"
	const optIn = cu.DeviceAttribute(97) // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
	if c.shared, err = c.dev.Attribute(optIn); err != nil {
		return named(err)
	}
	err = c.do(func() (err error) {
		if c.compute, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return err
		}
		return c.upload.open(c.calls)
	})
	if err != nil {
		return err
	}
	c.stream = unsafe.Pointer(c.compute.C())
	return c.loadAll()
}

// loadAll loads the machine code for this device.
func (c *cuda) loadAll() error {
	files, err := compiled.ReadDir("fatbin")
	if err != nil {
		return err
	}
	for _, f := range files {
		if path.Ext(f.Name()) != ".fatbin" {
			continue
		}
		image, err := compiled.ReadFile(path.Join("fatbin", f.Name()))
		if err != nil {
			return err
		}
		stem := strings.TrimSuffix(f.Name(), ".fatbin")
		m, err := c.load(image)
		var e cudaError
		switch {
		case errors.As(err, &e) && e.code == noBinary && strings.HasSuffix(stem, "_sm90a"):
			c.absent = append(c.absent, stem)
			continue
		case errors.As(err, &e) && (e.code == invalidImage || e.code == noBinary || e.code == invalidPTX || e.code == newerPTX):
			archs, release := built()
			return fmt.Errorf("%s.cu: %w; this is %s with driver %s, the code is %s by CUDA %s: update the driver to one of CUDA %s or later, or build with an older CUDA (make gpu CUDA_HOME=…)",
				stem, err, c.info.Architecture, c.info.Driver, archs, release, release)
		case err != nil:
			return fmt.Errorf("%s.cu: %w", stem, err)
		}
		c.modules = append(c.modules, m)
	}
	return nil
}

// do makes the context current and runs f on the same thread. f returns errors of cu.
func (c *cuda) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cu.SetCurrentContext(c.context)
	if err == nil {
		err = f()
	}
	return named(err)
}

func (c *cuda) Name() string { return c.info.Name }

func (c *cuda) Info() Info { return c.info }

func (c *cuda) Function(name string) (uint64, error) {
	for _, m := range c.modules {
		f, err := c.find(m, name, c.shared)
		var e cudaError
		if errors.As(err, &e) && e.code == notFound {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("kernel %s: %w", name, err)
		}
		return f, nil
	}
	if len(c.absent) > 0 {
		return 0, fmt.Errorf("kernel %s: there is none for %s (%s are for sm_90a alone)", name, c.info.Architecture, strings.Join(c.absent, ", "))
	}
	return 0, fmt.Errorf("kernel %s: this build has none", name)
}

func (c *cuda) Alloc(n int) (uint64, error) {
	var p cu.DevicePtr
	err := c.do(func() (err error) {
		if p, err = cu.MemAlloc(4 * int64(max(n, 1))); err != nil {
			return err
		}
		return cu.MemsetD32Async(p, 0, int64(max(n, 1)), c.compute)
	})
	var e cudaError
	if errors.As(err, &e) && e.code == outOfMemory {
		m := &kernels.MemoryError{Want: 4 * int64(n), Total: c.info.Memory, Err: err}
		if err := c.do(func() (err error) { m.Free, m.Total, err = cu.MemInfo(); return err }); err != nil {
			return 0, err
		}
		return 0, m
	}
	return uint64(p), err
}

func (c *cuda) Free(p uint64) {
	// An error is one of the kernels before it, and comes again from Sync.
	_ = c.do(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (c *cuda) Read(dst []float32, src uint64) error {
	if len(dst) == 0 {
		return nil
	}
	if c.peers != nil { // the copy would wait without a time limit
		if err := c.Sync(); err != nil {
			return err
		}
	}
	return c.do(func() error {
		if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), 4*int64(len(dst)), c.compute); err != nil {
			return err
		}
		return c.compute.Synchronize()
	})
}

func (c *cuda) TensorMap(address uint64, m kernels.TensorMap) ([kernels.TensorMapSize]byte, error) {
	return c.tensorMap(address, m)
}

func (c *cuda) Launch(list []byte) (int, error) {
	c.upload.epoch++
	return c.launch(list)
}

func (c *cuda) Capture(list []byte) (func() error, int, error) {
	if c.wait { // a graph would not name the kernel
		kept := append([]byte{}, list...)
		return func() error { _, err := c.Launch(kept); return err }, 0, nil
	}
	g, n, err := c.capture(list)
	if err != nil {
		return nil, n, err
	}
	c.graphs = append(c.graphs, g)
	return func() error { c.upload.epoch++; return c.replay(g) }, n, nil
}

func (c *cuda) Sync() error {
	if c.peers != nil {
		return c.syncPeers()
	}
	return c.do(c.compute.Synchronize)
}

func (c *cuda) Close() error {
	return c.do(func() error {
		var errs []error
		for _, g := range c.graphs {
			errs = append(errs, c.drop(g))
		}
		if c.peers != nil { // NCCL wants the graphs dropped
			errs = append(errs, c.disconnect())
		}
		for _, m := range c.modules {
			errs = append(errs, c.unload(m))
		}
		errs = append(errs, c.upload.close(), c.compute.Destroy(), c.dev.ReleasePrimaryCtx())
		return errors.Join(errs...)
	})
}
