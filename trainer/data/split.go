package data

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"magvit/trainer/metrics"
)

// part is what a clip is for: "train", "val", "test", or "" where the data do not say.
type part string

const (
	partTrain part = "train"
	partVal   part = "val"
	partTest  part = "test"
)

// partOf is the part that a name means, "" if none.
func partOf(name string) part {
	switch strings.ToLower(name) {
	case "train", "training":
		return partTrain
	case "val", "valid", "validation", "dev", "eval":
		return partVal
	case "test", "testing":
		return partTest
	}
	return ""
}

// partOfFolder is the part that the name of a folder means: it may be followed by digits, as in train2017, val_256 and
// test-01.
func partOfFolder(name string) part { return partOf(strings.TrimRight(name, "_-. 0123456789")) }

// Part is what the data say clip i is for: "train", "val", "test" or "".
func Part(src Source, i int) string {
	if p, ok := src.(interface{ Part(int) string }); ok {
		return p.Part(i)
	}
	return ""
}

// named divides the clips as the data say: test clips are left out if there are val
// clips, and are the held-out ones if there are none. ok is false where no clip is
// held out by name.
func named(src Source) (train, val []int, ok bool) {
	var test []int
	for i := range src.Len() {
		switch part(Part(src, i)) {
		case partVal:
			val = append(val, i)
		case partTest:
			test = append(test, i)
		default:
			train = append(train, i)
		}
	}
	if len(val) == 0 {
		val = test
	}
	return train, val, len(val) > 0
}

// TestClips returns the clips that the data name for testing; it is an error if there are none.
func TestClips(src Source) (clips []int, err error) {
	for i := range src.Len() {
		if part(Part(src, i)) == partTest {
			clips = append(clips, i)
		}
	}
	if len(clips) == 0 {
		err = badf("split test: no clip is named so; a folder test/ next to train/, or the column split of a list does")
	}
	return clips, err
}

// Split divides the clips into training and validation: ascending indices,
// neither empty, no clip in both. fraction of all clips is for validation and, as far
// as whole clips allow, the same fraction of each class.
//
// Clips that the data assign (folders train/ and val/, a column of a list, --val) are
// divided as the data say.
//
// Why by a hash of the name: within a class the clips with the smallest hashes
// are held out, so a clip is in the same part in every run and on every machine, and
// when clips are added or removed only those next to the boundary change parts.
//
// Parts of one film (NAME@START-END of a list, NAME@START of a packed set) look alike: a film
// is held out as a whole, by the hash of its name, where its class has other films.
func Split(src Source, fraction float64) (train, val []int, err error) {
	if train, val, ok := named(src); ok {
		if len(train) == 0 {
			return nil, nil, badf("all %d clips are for validation or test by their folder, list or --val; wanted: some for training", src.Len())
		}
		return train, val, nil
	}
	n := src.Len()
	if n < 2 {
		return nil, nil, badf("%s; a split needs at least 2, one to train on and one to hold out: add clips, name others to hold out by --val, or name parts of a long film in a list with the columns path, start, end and split", metrics.Plural(n, "clip"))
	}
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, badf("data.val_share: %v; legal: above 0 and below 1", fraction)
	}
	clips := map[int][]int{}
	var labels []int
	for i := range n {
		l := src.Label(i)
		if clips[l] == nil {
			labels = append(labels, l)
		}
		clips[l] = append(clips[l], i)
	}
	slices.Sort(labels)
	groups := map[int][]unit{}
	for l, of := range clips {
		groups[l] = units(src, of)
	}

	// Largest remainder method: each class gives the integer part of its quota, the
	// classes with the largest remainders give one more.
	type quota struct {
		label, count int
		rest         float64
	}
	var quotas []quota
	want := min(max(int(math.Round(fraction*float64(n))), 1), n-1)
	missing := want
	for _, l := range labels {
		exact := float64(want) * float64(len(clips[l])) / float64(n)
		q := quota{l, int(exact), exact - math.Floor(exact)}
		missing -= q.count
		quotas = append(quotas, q)
	}
	slices.SortStableFunc(quotas, func(a, b quota) int {
		return cmp.Or(cmp.Compare(b.rest, a.rest), groups[a.label][0].compare(groups[b.label][0]))
	})
	for i, q := range quotas {
		if i < missing {
			q.count++
		}
		held := heldOut(groups[q.label], q.count)
		for k, u := range groups[q.label] {
			if k < held {
				val = append(val, u.clips...)
			} else {
				train = append(train, u.clips...)
			}
		}
	}
	slices.Sort(train)
	slices.Sort(val)
	return train, val, nil
}

// unit is the clips of a class that one film has, or a clip on its own.
type unit struct {
	hash  uint64
	clips []int
}

func (u unit) compare(v unit) int {
	return cmp.Or(cmp.Compare(u.hash, v.hash), cmp.Compare(u.clips[0], v.clips[0]))
}

// units are the films of some clips by the hashes of their names, or the clips where all are of one film.
func units(src Source, clips []int) (all []unit) {
	films := map[string]int{}
	for _, i := range clips {
		film := filmOf(src.Name(i))
		k, ok := films[film]
		if !ok {
			k = len(all)
			films[film], all = k, append(all, unit{hash: nameHash(film)})
		}
		all[k].clips = append(all[k].clips, i)
	}
	if len(all) == 1 {
		all = nil
		for _, i := range clips {
			all = append(all, unit{nameHash(src.Name(i)), []int{i}})
		}
	}
	slices.SortFunc(all, unit.compare)
	return all
}

// filmOf is the name of the film that a clip is a part of, or the clip's name.
func filmOf(name string) string {
	at := strings.LastIndexByte(name, '@')
	if at < 0 || at == len(name)-1 || strings.Trim(name[at+1:], "0123456789.e+-") != "" {
		return name
	}
	return name[:at]
}

// heldOut is the number of units, the first ones, that together have nearest to count clips: at least one
// where count is not 0, and not all where count is less than all clips.
func heldOut(all []unit, count int) (held int) {
	have, total := 0, 0
	for _, u := range all {
		total += len(u.clips)
	}
	for held < len(all) && 2*count > 2*have+len(all[held].clips)-1 {
		have, held = have+len(all[held].clips), held+1
	}
	if count > 0 {
		held = max(held, 1)
	}
	if count < total {
		held = min(held, len(all)-1)
	}
	return held
}

// nameHash hashes names to 64 bits: FNV-1a, mixed so that names which differ
// at the end differ in every bit (the finalizer of MurmurHash3).
func nameHash(name string) uint64 {
	f := fnv.New64a()
	f.Write([]byte(name))
	h := f.Sum64()
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
