package quality

import (
	"path"
	"strings"

	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Match pairs the clips of two sources: each item is the index of a clip of a and that of
// its partner in b. By name, the partner is the clip whose name is the same without its extension and,
// where all names of a source begin with the same folder or file, without that: originals/x.mp4 and
// recon/x.gif are a pair. By order, clip i of a and clip i of b are.
func Match(a, b data.Source, byOrder bool) (pairs [][2]int, err error) {
	if byOrder {
		if a.Len() != b.Len() {
			return nil, usage.Errorf("%d and %d clips: pairs by order need as many of both", a.Len(), b.Len())
		}
		for i := range a.Len() {
			pairs = append(pairs, [2]int{i, i})
		}
		return pairs, nil
	}
	partners := map[string]int{}
	for i, name := range shortNames(b) {
		if k, ok := partners[name]; ok {
			return nil, usage.Errorf("%s and %s of the second set have the same name; want one of them, or pairs by order", b.Name(k), b.Name(i))
		}
		partners[name] = i
	}
	names := shortNames(a)
	for i, name := range names {
		k, ok := partners[name]
		if !ok {
			return nil, usage.Errorf("%s has no partner: none of the second set's %d clips is called %s; want the same names, or pairs by order", a.Name(i), b.Len(), name)
		}
		pairs = append(pairs, [2]int{i, k})
		partners[name] = -1
	}
	for i, name := range shortNames(b) {
		if partners[name] >= 0 {
			return nil, usage.Errorf("%s of the second set has no partner: none of the first set's %d clips is called %s; want the same names, or pairs by order", b.Name(i), a.Len(), name)
		}
	}
	return pairs, nil
}

// shortNames are the names of clips that Match compares.
func shortNames(src data.Source) []string {
	names := make([]string, src.Len())
	common, all := "", true
	for i := range names {
		name := src.Name(i)
		names[i] = strings.TrimSuffix(name, path.Ext(path.Base(name)))
		first, _, ok := strings.Cut(names[i], "/")
		all = all && ok && (i == 0 || first == common)
		common = first
	}
	for i := range names {
		if all {
			_, names[i], _ = strings.Cut(names[i], "/")
		}
	}
	return names
}
