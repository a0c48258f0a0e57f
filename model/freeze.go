package model

import (
	"fmt"
	"path"
)

// Freeze keeps parameters whose names match one of the patterns from being trained and
// returns their number. A pattern is that of path.Match: encoder.* are all names that begin
// with "encoder.". A pattern without a parameter, and one that leaves none to train, are errors.
func Freeze(params []Param, patterns []string) (frozen int, err error) {
	for _, pattern := range patterns {
		matched := false
		for i := range params {
			p := &params[i]
			ok, err := path.Match(pattern, p.Name)
			if err != nil {
				return 0, fmt.Errorf("%q: %w: want a name, in which * stands for any text", pattern, err)
			}
			if !ok || p.Buffer {
				continue
			}
			if matched = true; !p.Frozen {
				frozen++
			}
			p.Frozen, p.Decay = true, false
		}
		if !matched {
			return 0, fmt.Errorf("%q: no parameter has such a name; the first one is %s", pattern, params[0].Name)
		}
	}
	for _, p := range params {
		if !p.Buffer && !p.Frozen {
			return frozen, nil
		}
	}
	return 0, fmt.Errorf("%q: no parameter is left to train", patterns)
}
