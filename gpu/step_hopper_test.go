//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/model"
)

// hopper is the architecture of the tensor cores that conv_sm90a.cu is for.
const hopper = "sm_90"

// withTensorCores has layers of 64 channels, which these tensor cores run.
func withTensorCores(*testing.T) (model.Config, model.Shape) {
	c := model.Defaults()
	c.ImageSize, c.InitDim = 16, 64
	c.InputKernel, c.OutputKernel = model.Kernel{3, 3, 3}, model.Kernel{3, 3, 3}
	c.Layers = []model.Layer{{Name: model.Residual}, {Name: model.CompressSpace, Dim: 64}}
	c.Quantizer.Kind, c.Quantizer.Levels, c.Quantizer.CodebookSize, c.Quantizer.InvTemperature = "lfq", nil, 256, 2
	return c, model.Shape{N: 1, T: 1, H: 16, W: 16}
}
