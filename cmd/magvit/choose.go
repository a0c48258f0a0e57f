package main

import (
	"context"
	"fmt"

	"magvit/trainer/data"
)

// choosePreset names the preset for a training that names none, by its first clip and
// the device, and says why.
func choosePreset(ctx context.Context, src data.Source, device string) (name, why string, err error) {
	c, err := data.First(ctx, src)
	size := fmt.Sprintf("%dx%d pixels", c.W, c.H)
	switch {
	case err != nil:
		return "", "", err
	case c.Points != nil || c.Trajectory != nil:
		return "demo", "the clips have the positions of what moves, as those of magvit synth", nil
	case device == "gpu" && min(c.H, c.W) >= 128:
		return "film-128", "film of " + size + " without positions, on a GPU", nil
	case min(c.H, c.W) >= 128:
		return "film-64", "film of " + size + " without positions; film-128 takes hours on a CPU: --preset film-128, or --device gpu", nil
	}
	return "film-64", "film of " + size + " without positions", nil
}
