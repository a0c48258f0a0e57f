package main

import (
	"fmt"
	"log/slog"
	"runtime"

	"github.com/urfave/cli/v2"

	"magvit/gpu"
	"magvit/kernels"
)

// deviceFlags are of every command that computes.
func deviceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "device", Value: "auto", Usage: "auto, cpu or gpu"},
		&cli.StringFlag{Name: "precision", Value: "f32", Usage: "f32 or bf16"},
	}
}

// kernelsFlag is of commands that measure kernels. A training has the key train.kernels.
func kernelsFlag() cli.Flag {
	return &cli.StringFlag{Name: "kernels", Value: "auto", Usage: "of convolutions on the CPU in f32: auto, the fastest; or exact, direct sums"}
}

// useKernels applies --kernels.
func useKernels(c *cli.Context, be kernels.Backend) error {
	k, err := kernels.ParseConvKernels(c.String("kernels"))
	if err != nil {
		return usagef("--%w", err)
	}
	if be, ok := be.(kernels.ConvChooser); ok {
		be.UseConvKernels(k)
	}
	return nil
}

// openDevice starts the backend that --device and --precision choose, and logs which it
// is and why.
func openDevice(c *cli.Context, log *slog.Logger) (kernels.Backend, error) {
	be, why, err := newDevice(c)
	if err != nil {
		return nil, err
	}
	precision := kernels.PrecisionOf(be).String()
	switch be := be.(type) {
	case *kernels.CPU:
		log.Info("device: cpu, "+why, "instructions", be.Instructions(), "workers", be.Workers(), "precision", precision)
	case *gpu.Device:
		i := be.Info()
		log.Info("device: gpu, "+why, "name", i.Name, "architecture", i.Architecture, "driver", i.Driver,
			"memory", inBytes(uint64(i.Memory)), "precision", precision)
	}
	return be, nil
}

// newDevice is openDevice without a log. why is how the device was chosen.
func newDevice(c *cli.Context) (be kernels.Backend, why string, err error) {
	precision, err := kernels.ParsePrecision(c.String("precision"))
	if err != nil {
		return nil, "", usagef("--precision: %w", err)
	}
	switch d := c.String("device"); d {
	case "cpu":
		be, err = newCPU(precision)
		return be, "chosen by --device", err
	case "gpu":
		dev, err := gpu.Open(precision)
		if err != nil { // that there is none is the user's to change
			return nil, "", usagef("--device gpu: %w; --device cpu works without", err)
		}
		return dev, "chosen by --device", nil
	case "auto":
		dev, err := gpu.Open(precision)
		if err == nil {
			return dev, "chosen automatically", nil
		}
		why = "chosen automatically: " + err.Error()
		be, err = newCPU(precision)
		return be, why, err
	default:
		return nil, "", usagef("--device %s: want auto, cpu or gpu", d)
	}
}

// newCPU starts the CPU backend.
func newCPU(p kernels.Precision) (*kernels.CPU, error) {
	be, err := kernels.NewCPUIn(p, 0)
	if err != nil {
		return nil, usagef("--precision %v on the CPU: %w", p, err)
	}
	return be, nil
}

// describe is a backend in a few words.
func describe(be kernels.Backend) string {
	switch be := be.(type) {
	case *kernels.CPU:
		return fmt.Sprintf("cpu, %s, %d workers", be.Instructions(), be.Workers())
	case *gpu.Device:
		return "gpu, " + be.Info().String()
	}
	return be.Name()
}

// workers is how many goroutines work that is not a kernel may use.
func workers(be kernels.Backend) int {
	if cpu, ok := be.(*kernels.CPU); ok {
		return cpu.Workers()
	}
	return runtime.GOMAXPROCS(0)
}
