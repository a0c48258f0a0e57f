package probe

import (
	"math"

	"magvit/kernels/philox"
)

// Fractions of each class's clips.
const (
	testFraction = .2
	stopFraction = .15 // of the others: for early stopping and for choosing a head
)

// split is a stratified division of the clips.
type split struct{ fit, stop, test []int }

// splitClips draws division number rep.
func splitClips(labels []int, classes, rep int, seed uint64) (s split) {
	for c := range classes {
		var clips []int
		for i, l := range labels {
			if l == c {
				clips = append(clips, i)
			}
		}
		n := float64(len(clips))
		test := max(1, int(math.Round(testFraction*n)))
		stop := max(1, int(math.Round(stopFraction*(n-float64(test)))))
		for k, at := range philox.New(seed, "probe split", uint64(rep), uint64(c)).Perm(len(clips)) {
			switch {
			case k < test:
				s.test = append(s.test, clips[at])
			case k < test+stop:
				s.stop = append(s.stop, clips[at])
			default:
				s.fit = append(s.fit, clips[at])
			}
		}
	}
	return s
}

// shuffled permutes the labels over the clips.
func shuffled(labels []int, seed uint64, index int) []int {
	out := make([]int, len(labels))
	for i, from := range philox.New(seed, "probe shuffle", 0, uint64(index)).Perm(len(labels)) {
		out[i] = labels[from]
	}
	return out
}
