package main

import (
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
)

// deviceFlags are of every command that computes.
func deviceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "device", Value: "auto", Usage: "auto, cpu or gpu"},
		&cli.StringFlag{Name: "precision", Value: "f32", Usage: "f32 or bf16"},
	}
}

// openDevice starts the backend that --device and --precision choose, and says
// in the log's first line which it is.
func openDevice(c *cli.Context, log *slog.Logger) (*kernels.CPU, error) {
	if err := checkDevice(c); err != nil {
		return nil, err
	}
	be, err := newCPU()
	if err != nil {
		return nil, err
	}
	chosen := "chosen by --device"
	if c.String("device") == "auto" {
		chosen = "chosen by itself: this build has no GPU code"
	}
	log.Info("device: cpu, "+chosen, "instructions", be.ISA().String(), "workers", be.Workers(), "precision", c.String("precision"))
	return be, nil
}

func checkDevice(c *cli.Context) error {
	switch d := c.String("device"); d {
	case "auto", "cpu":
	case "gpu":
		return usagef("--device gpu: this build has no GPU code; use cpu or auto")
	default:
		return usagef("--device %s: want auto, cpu or gpu", d)
	}
	switch p := c.String("precision"); p {
	case "f32":
	case "bf16":
		return usagef("--precision bf16: the CPU computes in float32 only; use f32")
	default:
		return usagef("--precision %s: want f32 or bf16", p)
	}
	return nil
}

// newCPU starts the CPU backend. What it panics with is a wrong MAGVIT_ISA.
func newCPU() (be *kernels.CPU, err error) {
	defer func() {
		if p := recover(); p != nil {
			be, err = nil, usagef("%v", p)
		}
	}()
	return kernels.NewCPU(0), nil
}

// newDevice is openDevice for commands whose whole output is the result.
func newDevice(c *cli.Context) (*kernels.CPU, error) {
	if err := checkDevice(c); err != nil {
		return nil, err
	}
	return newCPU()
}

// describe is a backend in a few words.
func describe(be *kernels.CPU) string {
	return fmt.Sprintf("cpu, %s, %d workers", be.ISA(), be.Workers())
}
