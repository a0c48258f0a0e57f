package model

import "math"

// inflatedInit is the kind of initial weights with which an open-magvit2 network for clips
// begins as one for images: convolutions have weights for the last frame of their kernel alone,
// as those of magvit import --inflate have, and decoding repeats pixels and frames where the
// network for images is made larger.
//
// Why: with weights for all 27 taps a small network learns slowly. Nearly all of a small motion
// is in the frame itself, and positions within a code are learned apart from each other.
const inflatedInit = "inflated"

func (c Config) inflates() bool { return c.InitialWeights == inflatedInit }

// inflated are initial weights [out,k,c] for the last frame alone, uniform with variance 2 over
// the number of terms of a sum (He et al. 2015). With phases above 1 the channels are those of a
// depth to space with the phase as the slow index: each phase begins with the same weights, for the
// pixel itself alone.
func inflated(out int, k Kernel, c, phases int) initial {
	from, to := (k[0]-1)*k[1]*k[2], k[0]*k[1]*k[2] // taps of the last frame
	if phases > 1 {
		from += k[1]/2*k[2] + k[2]/2
		to = from + 1
	}
	row := k[0] * k[1] * k[2] * c
	return initial{bound: math.Sqrt(6 / float64((to-from)*c)), values: func(dst []float32) {
		for o := range out {
			w := dst[o*row : (o+1)*row]
			copy(w, dst[o%(out/phases)*row:][:row])
			clear(w[:from*c])
			clear(w[to*c:])
		}
	}}
}
