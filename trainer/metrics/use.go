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

// CodeCounter measures the use of a codebook by codes that come in parts.
type CodeCounter struct{ counts histogram }

// NewCodeCounter counts codes of a codebook of size codes with digits of levels values, which may be nil.
func NewCodeCounter(size int, levels []int) *CodeCounter {
	return &CodeCounter{newHistogram(size, levels)}
}

// Add counts codes, each in [0, size).
func (u *CodeCounter) Add(codes []int32) error {
	if err := u.counts.check(codes); err != nil {
		return err
	}
	u.counts.add(codes)
	return nil
}

// Report is the use of the codebook so far.
func (u *CodeCounter) Report() Codes { return u.counts.report() }
