package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"magvit/trainer"
)

// link is what an exchange between ranks costs: seconds of latency, and bytes a second that
// each rank sends.
type link struct{ latency, rate float64 }

// parseLink reads microseconds and GB/s.
func parseLink(s string) (l link, err error) {
	a, b, ok := strings.Cut(s, ",")
	us, err1 := strconv.ParseFloat(strings.TrimSpace(a), 64)
	gb, err2 := strconv.ParseFloat(strings.TrimSpace(b), 64)
	if !ok || err1 != nil || err2 != nil || !(us >= 0) || !(gb > 0) {
		return l, usagef("--link %q: want two numbers, µs of an exchange and GB/s of each rank, as magvit bench reduce prints them", s)
	}
	return link{us / 1e6, gb * 1e9}, nil
}

// reduce is the time that the sum of a number of bytes takes over n ranks: two exchanges.
func (l link) reduce(bytes int64, n int) float64 {
	if n < 2 {
		return 0
	}
	return 2*l.latency + sent(int(bytes), n)/l.rate
}

// scaling is a step on a number of ranks, each with the batch of one.
type scaling struct {
	Ranks      int     `json:"ranks"`
	Seconds    float64 `json:"least_s"`
	Sums       float64 `json:"sums_s"`     // of all buckets, one after another
	Exposed    float64 `json:"exposed_s"`  // of which after the backward pass
	Efficiency float64 `json:"efficiency"` // clips a second of a rank, relative to one alone
}

// predict is a step on n ranks. launches are the seconds of a step's launches in order, the first
// of which are the plan whose buckets are added up meanwhile; the update follows.
func predict(launches []float64, plan int, buckets []trainer.Bucket, l link, n int) scaling {
	end := make([]float64, len(launches)+1) // when the first launches have run
	for i, s := range launches {
		end[i+1] = end[i] + s
	}
	s := scaling{Ranks: n}
	free := 0. // when the link is
	for _, b := range buckets {
		took := l.reduce(b.Bytes, n)
		free = max(free, end[b.Launches]) + took
		s.Sums += took
	}
	backward, alone := end[plan], end[len(launches)]
	s.Exposed = max(0, free-backward)
	if n == 1 {
		s.Exposed = 0
	}
	s.Seconds = alone + s.Exposed
	s.Efficiency = alone / s.Seconds
	return s
}

func writeScaling(w io.Writer, rows []scaling, l link) error {
	fmt.Fprintf(w, "on several GPUs with the same batch on each, with exchanges of %.1f µs and %.1f GB/s from each:\n", 1e6*l.latency, l.rate/1e9)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ranks\tms\tsums ms\texposed ms\tefficiency\t")
	for _, s := range rows {
		fmt.Fprintf(t, "%d\t%.2f\t%.2f\t%.2f\t%.1f %%\t\n", s.Ranks, 1e3*s.Seconds, 1e3*s.Sums, 1e3*s.Exposed, 100*s.Efficiency)
	}
	return t.Flush()
}
