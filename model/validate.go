package model

import (
	"fmt"
	"slices"
	"strings"
)

// The checks of values name the key below model, the value and what would be legal.

func between(key string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("model.%s: %d: want %d to %d", key, v, low, high)
	}
	return nil
}

func inRange(key string, v, low, high float64) error {
	if !(v >= low && v <= high) { // also NaN
		return fmt.Errorf("model.%s: %v: want %v to %v", key, v, low, high)
	}
	return nil
}

func oneOf(key, v string, legal ...string) error {
	if !slices.Contains(legal, v) {
		return fmt.Errorf("model.%s: %q: want %s", key, v, strings.Join(legal, ", "))
	}
	return nil
}

func kernel(key string, k Kernel) error {
	if k[0] < 1 || k[1] < 1 || k[2] < 1 || k[0] > 15 || k[1] > 15 || k[2] > 15 || k[1]%2 == 0 || k[2]%2 == 0 {
		return fmt.Errorf("model.%s: %v: want 1 to 15, odd in height and width", key, k)
	}
	return nil
}

// Validate is an error that names the first wrong key, its value and what would be legal.
func (c Config) Validate() error {
	errs := []error{
		between("image_size", c.ImageSize, 4, 4096),
		between("channels", c.Channels, 1, 16),
		between("patch", c.Patch, 1, 64),
		between("patch_time", c.PatchTime, 1, 64),
		oneOf("patch_transform", c.PatchTransform, "none", cosines, lapped),
		inRange("background", c.Background, 0, 1),
		between("init_dim", c.InitDim, 1, 4096),
		between("max_dim", c.MaxDim, 0, 8192),
		between("dim_cond", c.DimCond, 0, 4096),
		inRange("cond_expansion", c.CondExpansion, 0, 64),
		kernel("input_kernel", c.InputKernel), kernel("output_kernel", c.OutputKernel), kernel("residual_kernel", c.ResidualKernel),
		oneOf("pad_mode", c.PadMode, padModes...),
		oneOf("squeeze_excite", c.SqueezeExcite, "none", "open", "closed"),
		between("attention.heads", c.Attention.Heads, 1, 256), between("attention.dim", c.Attention.Dim, 1, 1024),
		between("linear_attention.heads", c.LinearAttention.Heads, 1, 256), between("linear_attention.dim", c.LinearAttention.Dim, 1, 64),
		oneOf("latent_norm", c.LatentNorm, "layer", "none"),
		between("quantizer.codebooks", c.Quantizer.Codebooks, 1, 16),
		oneOf("loss.kind", c.Loss.Kind, "mse", "l1"),
		inRange("loss.overshoot", c.Loss.Overshoot, 0, 1),
		inRange("loss.gradient_weight", c.Loss.GradientWeight, 0, 1e6),
		between("loss.gradient_scales", c.Loss.GradientScales, 1, 8),
		inRange("loss.ssim_weight", c.Loss.SSIMWeight, 0, 1e6),
	}
	if c.Classifies() {
		errs = append(errs, oneOf("classify.network", c.Classify.Network, "i3d", "slowfast"),
			oneOf("classify.forecast", c.Classify.Forecast, ForecastAuto, ForecastImage, ForecastSpace, ForecastNone),
			oneOf("classify.forecast_loss", c.Classify.ForecastLoss, "mse", "l1"), oneOf("classify.input", c.Classify.Input, InputPixels, InputCodes, InputFused))
	}
	if c.Classifies() && (c.PatchTime > 1 || c.PatchTransform != "none") {
		errs = append(errs, fmt.Errorf("model.patch_time: %d, patch_transform: %s: classifiers have patches of one frame, not transformed", c.PatchTime, c.PatchTransform))
	}
	if c.SeparateFirstFrame && c.PatchTime > 1 {
		errs = append(errs, fmt.Errorf("model.patch_time: %d: want 1 with separate_first_frame", c.PatchTime))
	}
	if c.Compat != "" {
		errs = append(errs, oneOf("compat", c.Compat, Lucidrains, OpenMagvit2, VidTok, Cosmos))
	}
	for _, name := range []string{CompressSpace, CompressTime} {
		if n := c.count(name); n > 10 { // 2^10 pixels or frames per code; more would overflow
			errs = append(errs, fmt.Errorf("model.layers: %d times %s: want at most 10", n, name))
		}
	}
	if len(c.Layers) > 64 {
		errs = append(errs, fmt.Errorf("model.layers: %d layers: want at most 64", len(c.Layers)))
	}
	for i, l := range c.Layers {
		key := fmt.Sprintf("layers[%d]", i)
		errs = append(errs, oneOf(key, l.Name, layerNames...))
		switch {
		case l.Dim != 0 && !l.compresses():
			errs = append(errs, fmt.Errorf("model.%s: %s has no dim; only compress_space and compress_time change the number of channels", key, l.Name))
		case l.Antialias && !l.compresses():
			errs = append(errs, fmt.Errorf("model.%s: %s has no antialias; only compress_space and compress_time do", key, l.Name))
		case !l.Kernel.IsZero() && !l.convolves():
			errs = append(errs, fmt.Errorf("model.%s: %s has no kernel of its own", key, l.Name))
		case l.Dilation != 0 && !l.convolves():
			errs = append(errs, fmt.Errorf("model.%s: %s has no dilation", key, l.Name))
		case l.N != 0 && l.Name != ConsecutiveResidual:
			errs = append(errs, fmt.Errorf("model.%s: %s has no n; use [consecutive_residual, %d]", key, l.Name, l.N))
		}
		errs = append(errs, between(key+".dim", l.Dim, 0, 8192), between(key+".n", l.N, 0, 32), between(key+".dilation", l.Dilation, 0, 32))
		if !l.Kernel.IsZero() {
			errs = append(errs, kernel(key+".kernel", l.Kernel))
		}
	}
	switch width := c.condWidth(); {
	case c.conditional() && width < 1:
		errs = append(errs, fmt.Errorf("model.dim_cond: %d times cond_expansion %v: want at least 1, the layers cond_* need a condition", c.DimCond, c.CondExpansion))
	case !c.conditional() && c.DimCond != 0:
		errs = append(errs, fmt.Errorf("model.dim_cond: %d: no layer takes a condition; want 0, or a layer cond_*", c.DimCond))
	}
	if c.SeparateFirstFrame && !c.FirstFrame && !c.lucidrains() {
		errs = append(errs, fmt.Errorf("model.separate_first_frame: true: clips have no frame of its own without first_frame"))
	}
	if q, err := c.Quantizer.of(); err != nil {
		errs = append(errs, err)
	} else if !c.Classifies() && !c.IsPrior() { // these have no quantizer
		errs = append(errs, q.validate(c)...)
	}
	errs = append(errs, c.Loss.Perceptual.validate(c)...)
	errs = append(errs, c.validateInitialWeights())
	errs = append(errs, c.validateClassify(), c.validatePrior(), c.validateDiscriminator(), c.compatible())
	errs = append(errs, c.validatePublished()...)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if f := c.spaceFactor(); c.ImageSize%f != 0 {
		if c.published() {
			return fmt.Errorf("model.image_size: %d: patch %d and %d levels need a multiple of %d", c.ImageSize, c.Patch, len(c.Published.Multipliers), f)
		}
		return fmt.Errorf("model.image_size: %d: patch %d and %d compress_space need a multiple of %d", c.ImageSize, c.Patch, c.count(CompressSpace), f)
	}
	return nil
}

var padModes = []string{"constant", "replicate", "reflect", "circular"}

// condWidth is the width of the mapped condition inside the network.
func (c Config) condWidth() int { return int(float64(c.DimCond) * c.CondExpansion) }

// compatible is an error that names what the reference does not have.
func (c Config) compatible() error {
	if !c.lucidrains() {
		return nil
	}
	for _, d := range []struct {
		key       string
		got, want any
	}{
		{"patch", c.Patch, 1}, {"patch_time", c.PatchTime, 1}, {"patch_transform", c.PatchTransform, "none"}, {"background", c.Background, 0.}, {"squeeze_excite", c.SqueezeExcite, "closed"},
		{"latent_norm", c.LatentNorm, "none"}, {"loss.kind", c.Loss.Kind, "mse"}, {"loss.overshoot", c.Loss.Overshoot, 1.},
		{"loss.gradient_weight", c.Loss.GradientWeight, 0.}, {"loss.ssim_weight", c.Loss.SSIMWeight, 0.},
	} {
		if d.got != d.want {
			return fmt.Errorf("model.%s: %v: want %v with compat lucidrains", d.key, d.got, d.want)
		}
	}
	if kind := c.Loss.Perceptual.Kind; kind != "none" && kind != "vgg16" {
		return fmt.Errorf("model.loss.perceptual.kind: %s: want none or vgg16, the reference's, with compat lucidrains", kind)
	}
	for i, l := range c.Layers {
		switch key := fmt.Sprintf("model.layers[%d]", i); {
		case l.Name == CondAttendSpace || l.Name == CondLinearAttendSpace || l.Name == CondAttendTime:
			return fmt.Errorf("%s: %s: the reference's own cannot run; leave compat out", key, l.Name)
		case !l.Kernel.IsZero():
			return fmt.Errorf("%s.kernel: %v: the reference has one residual_kernel for all; leave compat out", key, l.Kernel)
		case l.Dilation > 1:
			return fmt.Errorf("%s.dilation: %d: the reference has none; leave compat out", key, l.Dilation)
		case l.Antialias:
			return fmt.Errorf("%s.antialias: true: the reference has none; leave compat out", key)
		}
	}
	return nil
}
