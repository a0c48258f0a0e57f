package data

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
)

// Split divides the clips into training and validation: ascending indices,
// neither empty, no clip in both. fraction of all clips is for validation and, as far
// as whole clips allow, the same fraction of each class.
//
// Why by a hash of the name: within a class the clips with the smallest hashes
// are held out, so a clip is in the same part in every run and on every machine, and
// when clips are added or removed only those next to the boundary change parts.
func Split(src Source, fraction float64) (train, val []int, err error) {
	n := src.Len()
	if n < 2 {
		return nil, nil, badf("%d clip; a split needs at least 2, one to train on and one to hold out", n)
	}
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, badf("data.val_share: %v; legal: above 0 and below 1", fraction)
	}
	hash := make([]uint64, n)
	groups := map[int][]int{}
	var labels []int
	for i := range n {
		hash[i] = nameHash(src.Name(i))
		l := src.Label(i)
		if groups[l] == nil {
			labels = append(labels, l)
		}
		groups[l] = append(groups[l], i)
	}
	slices.Sort(labels)
	byHash := func(a, b int) int { return cmp.Or(cmp.Compare(hash[a], hash[b]), cmp.Compare(a, b)) }

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
		slices.SortFunc(groups[l], byHash)
		exact := float64(want) * float64(len(groups[l])) / float64(n)
		q := quota{l, int(exact), exact - math.Floor(exact)}
		missing -= q.count
		quotas = append(quotas, q)
	}
	slices.SortStableFunc(quotas, func(a, b quota) int {
		return cmp.Or(cmp.Compare(b.rest, a.rest), byHash(groups[a.label][0], groups[b.label][0]))
	})
	for i, q := range quotas {
		if i < missing {
			q.count++
		}
		val = append(val, groups[q.label][:q.count]...)
		train = append(train, groups[q.label][q.count:]...)
	}
	slices.Sort(train)
	slices.Sort(val)
	return train, val, nil
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
