package kerneltest

import "magvit/kernels"

func embeddingCases() []Case {
	var cs []Case
	for _, d := range [][4]int{{1, 1, 1, 1}, {7, 3, 5, 3}, {33, 2, 9, 17}, {300, 2, 40, 31}, {3, 1, 300, 64}, {700, 3, 7, 33}, {20, 1, 3, 300}} {
		s := kernels.Embedding{Rows: d[0], Ids: d[1], Vocab: d[2], C: d[3]}
		ids := map[string]Draw{"ids": rounded(Mixed(0, float64(d[2]), -1, float32(d[2]-1)))}
		cs = append(cs, newCase(s, roundTol, roundWhy, ids), newCase(kernels.EmbeddingGrad(s), sumTol, sumWhy, ids))
	}
	s := kernels.Embedding{Rows: 40, Ids: 2, Vocab: 3, C: 5}
	none := map[string]Draw{"ids": Constant(-1)}
	cs = append(cs, newCase(s, exactTol, "no id, no value", none), newCase(kernels.EmbeddingGrad(s), exactTol, "no id, no slope", none))
	cs = append(cs, smoothCase(kernels.Embedding{Rows: 4, Ids: 2, Vocab: 3, C: 2}, map[string]Draw{"ids": Constant(2, -1, 0, 1, 1, 1, 0, 2)}))
	s = kernels.Embedding{Rows: 2048, Ids: 3, Vocab: 1024, C: 128}
	ids := map[string]Draw{"ids": Whole(1024)}
	return append(cs, benchCase(s, roundTol, roundWhy, ids), benchCase(kernels.EmbeddingGrad(s), sumTol, sumWhy, ids))
}
