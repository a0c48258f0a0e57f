package kerneltest

import "magvit/kernels"

func classifyCases() []Case {
	const why = "exp and log to 1e-7 of logits that may cancel"
	var cs []Case
	for _, d := range [][2]int{{1, 2}, {7, 4}, {33, 3}, {129, 31}, {300, 5}, {9, 33}, {5, 300}} {
		draw := map[string]Draw{"logits": Normal(3), "label": Mixed(0, 1, float32(d[1]-1), -1)}
		steep := map[string]Draw{"logits": Mixed(-9, 9, -300, 300), "label": Whole(d[1])}
		for _, m := range []map[string]Draw{draw, steep} {
			m["label"] = rounded(m["label"])
			for _, smoothing := range []float32{0, .25} {
				s := kernels.CrossEntropy{Rows: d[0], C: d[1], Smoothing: smoothing}
				cs = append(cs, newCase(s, sumTol, why, m), newCase(kernels.CrossEntropyGrad(s), sumTol, why, m))
			}
		}
	}
	none := map[string]Draw{"label": Constant(-1)}
	s := kernels.CrossEntropy{Rows: 40, C: 3}
	cs = append(cs, newCase(s, exactTol, "no label, no loss", none), newCase(kernels.CrossEntropyGrad(s), exactTol, "no label, no slope", none))
	cs = append(cs, smoothCase(kernels.CrossEntropy{Rows: 4, C: 3}, map[string]Draw{"label": Constant(2, -1, 0, 1)}))
	cs = append(cs, smoothCase(kernels.CrossEntropy{Rows: 4, C: 3, Smoothing: .25}, map[string]Draw{"label": Constant(2, -1, 0, 1)}))
	labels := map[string]Draw{"label": Whole(400)}
	return append(cs,
		benchCase(kernels.CrossEntropy{Rows: 512, C: 400}, sumTol, why, labels),
		benchCase(kernels.CrossEntropyGrad{Rows: 512, C: 400}, sumTol, why, labels),
		benchCase(kernels.CrossEntropy{Rows: 2048, C: 1000, Smoothing: .1}, sumTol, why, labels),
		benchCase(kernels.CrossEntropyGrad{Rows: 2048, C: 1000, Smoothing: .1}, sumTol, why, labels))
}
