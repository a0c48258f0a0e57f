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
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress bar, and a log of warnings and errors only"},
	}
}

// kernelsFlag is of commands that measure kernels. A training has the key train.kernels.
func kernelsFlag() cli.Flag {
	return &cli.StringFlag{Name: "kernels", Value: "auto", Usage: "of convolutions on the CPU: auto, the fastest; or exact, direct sums"}
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
// is.
func openDevice(c *cli.Context, log *slog.Logger) (kernels.Backend, error) {
	be, why, err := newDevice(c)
	if err != nil {
		return nil, err
	}
	log.Info("device: " + describe(be) + ", " + kernels.PrecisionOf(be).String())
	if why != nil && gpu.Built() != "" { // a build with GPU code was meant to use it
		log.Warn("no GPU is used: " + why.Error())
	}
	return be, nil
}

// newDevice is openDevice without a log. why is the reason that --device auto chose no GPU.
func newDevice(c *cli.Context) (be kernels.Backend, why, err error) {
	precision, err := kernels.ParsePrecision(c.String("precision"))
	if err != nil {
		return nil, nil, usagef("--precision: %w", err)
	}
	switch d := c.String("device"); d {
	case "cpu":
		be, err = newCPU(precision)
		return be, nil, err
	case "gpu":
		dev, err := gpu.Open(precision)
		if err != nil { // that there is none is the user's to change
			return nil, nil, usagef("--device gpu: %w; --device cpu works without", err)
		}
		return dev, nil, nil
	case "auto":
		dev, err := gpu.Open(precision)
		if err == nil {
			return dev, nil, nil
		}
		why = err
		be, err = newCPU(precision)
		return be, why, err
	default:
		return nil, nil, usagef("--device %s: want auto, cpu or gpu", d)
	}
}

// newCPU starts the CPU backend.
func newCPU(p kernels.Precision) (*kernels.CPU, error) {
	be, err := kernels.NewCPUIn(p, launched.cores)
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
