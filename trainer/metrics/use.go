package metrics

// CodeUse measures the use of a codebook of the given size; levels as in Config.
func CodeUse(codes []int32, size int, levels []int) (Codes, error) {
	if err := (Config{H: 1, W: 1, C: 1, CodebookSize: size, Levels: levels}).validate(); err != nil {
		return Codes{}, err
	}
	h := newHistogram(size, levels)
	if err := h.check(codes); err != nil {
		return Codes{}, err
	}
	h.add(codes)
	return h.report(), nil
}
