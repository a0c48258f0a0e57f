package data

import (
	"fmt"
	"math"
	"slices"
)

// Config describes how clips become batches. Sizes of 0 are taken from the first clip.
type Config struct {
	Size       int     `yaml:"size"`       // side of a square frame in pixels; 0: as the first clip is
	Height     int     `yaml:"height"`     // with width, instead of size: a frame that is not square
	Width      int     `yaml:"width"`      // see height
	Frames     int     `yaml:"frames"`     // frames of a clip; shorter ones repeat their last frame, of longer ones windows are taken; 0: as many as the first clip has
	FPS        float64 `yaml:"fps"`        // frames a second of the clips, the nearest ones by their time stamps; 0: as filmed
	Stride     int     `yaml:"stride"`     // a clip is every n-th frame; 0: 1
	Windows    string  `yaml:"windows"`    // windows of frames in a longer clip: random (training: a random one in each epoch; evaluation: the first), first, all (without gaps), or a number of them (training: random; evaluation: evenly spread); "": random
	Fit        string  `yaml:"fit"`        // frames of other proportions: crop (training: random; evaluation: the middle), center, letterbox (black bars) or stretch; "": crop
	Background string  `yaml:"background"` // auto: model.background is the mean of the training clips, found at the start of a run and kept; "": as configured
	Images     bool    `yaml:"images"`     // each image of a folder is a clip of one frame, labelled by the folder; false: a folder of images is a clip
	Channels   int     `yaml:"channels"`   // 3 (colour) or 1 (grey); 0: as the first clip has

	Crop Crop `yaml:"crop"` // train on crops near the foreground instead of whole clips

	Flip      bool    `yaml:"flip"`      // training: mirror left-right and up-down, each with probability 1/2
	Transpose bool    `yaml:"transpose"` // training: exchange x and y with probability 1/2; square frames only
	Reverse   bool    `yaml:"reverse"`   // training: play clips backwards with probability 1/2; for motions that have no direction
	Shift     int     `yaml:"shift"`     // training: largest shift of whole clips in pixels, each way, filled with the clip's background
	Noise     float64 `yaml:"noise"`     // training: standard deviation of gaussian noise added to every value
	Rotation  float64 `yaml:"rotation"`  // training: largest rotation in degrees, each way, filled with the clip's background

	ForegroundWeight float64 `yaml:"foreground_weight"` // loss weight of a pixel is 1 + this where it differs from the clip's background
	Grow             int     `yaml:"grow"`              // dilation of the foreground in pixels

	ValShare float64 `yaml:"val_share"` // fraction of the clips held out for validation
	Strict   bool    `yaml:"strict"`    // fail on a clip that cannot be read, instead of skipping it
	Workers  int     `yaml:"workers"`   // goroutines that prefetch batches; the batches do not depend on it
	Cache    string  `yaml:"cache"`     // a folder that keeps decoded clips from run to run: whole short clips, and windows of films that repeat (data.windows first or all, evaluation); the batches do not depend on it; "": none
	CacheMB  int     `yaml:"cache_mb"`  // upper bound of the files in it, in MB; 0: 8000
}

// Crop configures training crops.
type Crop struct {
	Batch      int     `yaml:"batch"`       // crops in a batch; 0: whole clips only
	Frames     int     `yaml:"frames"`      // frames of a crop
	Size       int     `yaml:"size"`        // side of a crop in pixels
	Moving     float64 `yaml:"moving"`      // fraction of the crops placed on the foreground; the others are anywhere
	WholeEvery int     `yaml:"whole_every"` // every n-th step uses whole clips, in all of its batches; 0: never
}

// MeanBackground is Config.Background that takes model.background from the clips.
const MeanBackground = "auto"

// Defaults is whole clips as they are, flipped, with the recipe's foreground weight.
func Defaults() Config {
	return Config{
		Flip: true, ForegroundWeight: 2, Grow: 2, ValShare: .2, Workers: 2,
		Crop: Crop{Frames: 8, Size: 32, Moving: .85, WholeEvery: 10},
	}
}

// Largest legal values: larger ones are typing errors, and sizes multiply to more
// memory than a machine has.
const (
	maxSide     = 8192
	maxFrames   = 100_000
	maxCrops    = 65_536
	maxWorkers  = 256
	maxRotation = 45
)

// Validate names the first key whose value is not legal, and what would be.
func (c Config) Validate() error {
	for _, err := range []error{
		inRange("size", c.Size, 0, maxSide), inRange("height", c.Height, 0, maxSide), inRange("width", c.Width, 0, maxSide),
		inRange("frames", c.Frames, 0, maxFrames), inRange("fps", c.FPS, 0, 1000), inRange("stride", c.Stride, 0, maxFrames),
		inRange("crop.batch", c.Crop.Batch, 0, maxCrops),
		inRange("shift", c.Shift, 0, maxSide), inRange("noise", c.Noise, 0, 1), inRange("rotation", c.Rotation, 0, maxRotation),
		inRange("foreground_weight", c.ForegroundWeight, 0, 1e6), inRange("grow", c.Grow, 0, 64),
		inRange("val_share", c.ValShare, 0, 1), inRange("workers", c.Workers, 0, maxWorkers), inRange("cache_mb", c.CacheMB, 0, math.MaxInt32),
	} {
		if err != nil {
			return err
		}
	}
	if _, _, _, err := c.windows(); err != nil {
		return err
	}
	if !slices.Contains([]string{"", fitCrop, fitCenter, fitLetterbox, fitStretch}, c.Fit) {
		return badf("data.fit: %q; legal: %s, %s, %s, %s", c.Fit, fitCrop, fitCenter, fitLetterbox, fitStretch)
	}
	if c.Background != "" && c.Background != MeanBackground {
		return badf("data.background: %q; legal: %s (the mean of the training clips) or \"\" (model.background)", c.Background, MeanBackground)
	}
	if c.Channels != 0 && c.Channels != 1 && c.Channels != 3 {
		return badf("data.channels: %d; legal: 3 (colour), 1 (grey) or 0 (as the clips are)", c.Channels)
	}
	if c.ValShare <= 0 || c.ValShare >= 1 {
		return badf("data.val_share: %v; legal: above 0 and below 1", c.ValShare)
	}
	if (c.Height > 0) != (c.Width > 0) {
		return badf("data.height: %d with data.width: %d; legal: both, or neither and data.size", c.Height, c.Width)
	}
	if c.Size > 0 && c.Height > 0 && (c.Height != c.Size || c.Width != c.Size) {
		return badf("data.size: %d with height %d and width %d; legal: size, or height and width with size 0", c.Size, c.Height, c.Width)
	}
	h, w := c.side()
	if c.Transpose && h != w {
		return badf("data.transpose: true with frames of %dx%d; legal: square ones, as data.size=64 makes them, or data.transpose=false", h, w)
	}
	if h > 0 && c.Shift >= min(h, w) {
		return badf("data.shift: %d; legal: 0 to %d, less than the frame's side", c.Shift, min(h, w)-1)
	}
	return c.Crop.validate(h, w, c.Frames)
}

func (c Crop) validate(h, w, frames int) error {
	if c.Batch == 0 {
		return nil
	}
	maxT, maxS := maxFrames, maxSide
	if frames > 0 {
		maxT = frames
	}
	if h > 0 {
		maxS = min(h, w)
	}
	for _, err := range []error{
		inRange("crop.frames", c.Frames, 1, maxT), inRange("crop.size", c.Size, 1, maxS),
		inRange("crop.moving", c.Moving, 0, 1), inRange("crop.whole_every", c.WholeEvery, 0, math.MaxInt32),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// inRange refuses a value of a data.* key outside [low, high]. NaN is outside.
func inRange[N int | float64](key string, v, low, high N) error {
	if v >= low && v <= high {
		return nil
	}
	return badf("data.%s: %v; legal: %v to %v", key, v, low, high)
}

// side is the frame's height and width, 0 where they come from the first clip.
func (c Config) side() (h, w int) {
	if c.Height > 0 {
		return c.Height, c.Width
	}
	return c.Size, c.Size
}

// Whole is the shape of a batch of n whole clips. c must be resolved (Resolve).
func (c Config) Whole(n int) Shape { return Shape{n, c.Frames, c.Height, c.Width, c.Channels} }

// Shape is the shape of the training batches of a step, where a batch of whole
// clips holds batch of them. c must be resolved (Resolve).
func (c Config) Shape(step, batch int) Shape {
	if c.whole(step) {
		return c.Whole(batch)
	}
	return Shape{c.Crop.Batch, c.Crop.Frames, c.Crop.Size, c.Crop.Size, c.Channels}
}

// Shapes lists the different shapes of training batches; one plan is compiled for each.
func (c Config) Shapes(batch int) []Shape {
	whole := c.Whole(batch)
	if c.Crop.Batch == 0 || c.Crop.WholeEvery == 1 {
		return []Shape{whole}
	}
	crop := c.Shape(0, batch)
	if c.Crop.WholeEvery == 0 || crop == whole {
		return []Shape{crop}
	}
	return []Shape{crop, whole}
}

// whole reports whether a step uses whole clips: the last one of each WholeEvery.
func (c Config) whole(step int) bool {
	return c.Crop.Batch == 0 || c.Crop.WholeEvery > 0 && (step+1)%c.Crop.WholeEvery == 0
}

// cropsAtRandom reports whether training cuts a random part out of frames of other proportions.
func (c Config) cropsAtRandom() bool { return c.Fit == "" || c.Fit == fitCrop }

// first is the number of clips and crops used by the batches before this one, of steps of perStep batches.
func (c Config) first(number, batch, perStep int) int {
	if c.Crop.Batch == 0 {
		return number * batch
	}
	whole := 0
	if step := number / perStep; c.Crop.WholeEvery > 0 {
		whole = step / c.Crop.WholeEvery * perStep
		if c.whole(step) {
			whole += number % perStep
		}
	}
	return whole*batch + (number-whole)*c.Crop.Batch
}

func (s Shape) String() string { return fmt.Sprintf("[%d,%d,%d,%d,%d]", s.N, s.T, s.H, s.W, s.C) }
