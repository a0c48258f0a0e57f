package kerneltest

import "magvit/kernels"

func featureDistanceCases() []Case {
	const distanceWhy = "squares of differences of unit vectors, which cancel in part"
	var cs []Case
	features := map[string]Draw{"f": Mixed(0, 2, 0), "g": Mixed(0, 2, 0), "w": Uniform(0, 1)}
	for _, d := range [][3]int{{1, 2, 3}, {3, 5, 7}, {2, 33, 32}, {2, 40, 33}, {1, 300, 64}, {2, 4, 512}} {
		s := kernels.FeatureDistance{N: d[0], P: d[1], C: d[2]}
		cs = append(cs, newCase(s, sumTol, distanceWhy, features), newCase(kernels.FeatureDistanceGrad(s), sumTol, distanceWhy, features))
	}
	s := kernels.FeatureDistance{N: 2, P: 6, C: 8}
	none := map[string]Draw{"f": Constant(0), "g": Uniform(0, 1), "w": Uniform(0, 1)}
	cs = append(cs, newCase(s, sumTol, "features of length 0", none), newCase(kernels.FeatureDistanceGrad(s), exactTol, "no slope at length 0", none))
	cs = append(cs, smoothCase(kernels.FeatureDistance{N: 2, P: 3, C: 5}, map[string]Draw{"f": Uniform(2, 6), "g": Uniform(2, 6), "w": Uniform(0, 8)}))
	vgg, large := kernels.FeatureDistance{N: 8, P: 64 * 64, C: 64}, kernels.FeatureDistance{N: 8, P: 128 * 128, C: 128}
	repeated := map[string]Draw{"f": Constant(.3, 1.2, 0, 2.1, .4), "g": Constant(.7, 0, .2), "w": Uniform(0, 1)}
	return append(cs,
		benchCase(vgg, sumTol, distanceWhy, features), benchCase(kernels.FeatureDistanceGrad(vgg), sumTol, distanceWhy, features),
		largeBenchCase(large, sumTol, distanceWhy, repeated), largeBenchCase(kernels.FeatureDistanceGrad(large), sumTol, distanceWhy, repeated))
}
