package data

import (
	"slices"
	"strings"
)

// unlikeShown are the properties of films whose pixels are not what a player shows, by how ffmpeg describes them.
var unlikeShown = []struct{ stream, property, remedy string }{
	{"smpte2084", "is HDR (PQ)", toneMapping},
	{"arib-std-b67", "is HDR (HLG)", toneMapping},
	{"top first", "is interlaced", deinterlacing},
	{"bottom first", "is interlaced", deinterlacing},
	{"coded first (swapped)", "is interlaced", deinterlacing},
	{"Video: dvvideo", "is DV, which camcorders interlace", deinterlacing}, // without a word of it by ffmpeg
}

const (
	toneMapping   = "its values are read as they are stored, without tone mapping, and look flatter and greyer than a player shows them; ffmpeg's filters zscale and tonemap make an ordinary film of it"
	deinterlacing = "a frame has the lines of two moments, as it is stored; ffmpeg -i IN -vf bwdif OUT makes one moment of each"
)

// unlike lists the properties of a film, which ffmpeg describes, by their stream in unlikeShown.
func (t *tail) unlike() (found []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range unlikeShown {
		if strings.Contains(t.stream, u.stream) {
			found = append(found, u.stream)
		}
	}
	return found
}

// NewProblems returns the problems of a Source that are not in told, and adds them to it: reading clips finds more.
func NewProblems(src Source, told map[string]bool) (list []string) {
	for _, p := range src.Problems() {
		if !told[p] {
			told[p] = true
			list = append(list, p)
		}
	}
	return list
}

// noteUnlike adds a sentence to Problems for each property that no film had before.
func (f *files) noteUnlike(i int, found []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range unlikeShown {
		if !slices.Contains(found, u.stream) || f.unlike[u.property] {
			continue
		}
		f.unlike[u.property] = true
		f.problems = append(f.problems, f.Name(i)+" "+u.property+": "+u.remedy+"; others like it are not named")
	}
}
