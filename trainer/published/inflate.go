package published

import (
	"fmt"
	"slices"
	"strings"

	"magvit/model"
)

// A video network that begins as an image network computes the same of a clip of one frame
// (Luo et al. 2024): a kernel k×k becomes the last slice in time of one of k×k×k, whose other
// slices are zero, and where depth to space is also depth to time both phases are alike.

// imageName is the name in the image network of a parameter of the video network.
func imageName(name string) string { return strings.Replace(name, ".conv_1.", ".", 1) }

// inflates is an error unless a tensor of shape from can become parameter p.
func inflates(p model.Param, from []int) error {
	to := slices.Clone(p.Reference)
	if len(to) == 5 { // a convolution: without its axis of time
		to = slices.Delete(to, 2, 3)
	}
	doubled := slices.Clone(from)
	if len(doubled) > 0 {
		doubled[0] *= 2
	}
	if slices.Equal(from, to) || strings.Contains(p.Name, ".upsample.") && slices.Equal(doubled, to) {
		return nil
	}
	return fmt.Errorf("%s is %v, which does not become %s of %v", imageName(p.Name), from, p.Name, p.Reference)
}

// inflate writes the values of an image network's tensor to dst in the order of p.Reference,
// which is zero before.
func inflate(p model.Param, dst, values []float32) {
	clear(dst)
	slice, time := 1, 1
	if len(p.Reference) == 5 {
		slice, time = p.Reference[3]*p.Reference[4], p.Reference[2]
	}
	rows := len(dst) / (slice * time) // of all kernels in space
	have := len(values) / slice
	for r := range rows {
		copy(dst[(r*time+time-1)*slice:][:slice], values[r%have*slice:])
	}
}
