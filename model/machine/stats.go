package machine

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"magvit/kernels"
)

// Stats are the numbers of a plan.
type Stats struct {
	Nodes      int             // of the graph that the outputs depend on
	Kernels    int             // launches of one Run, after fusion
	Prepared   int             // different kernels among them
	ArenaBytes int64           // the one arena of all intermediate values
	ValueBytes int64           // what they would take side by side
	Loads      int             // parameters that a Run reads, as they are offloaded
	Kinds      map[string]Kind // by kind of kernel
}

// Kind sums up the launches of one kind of kernel.
type Kind struct {
	Count        int
	FLOPs, Bytes int64
	Seconds      float64 // of one Run; filled by Profile
}

// FLOPs is the work of one Run.
func (s Stats) FLOPs() (n int64) {
	for _, k := range s.Kinds {
		n += k.FLOPs
	}
	return n
}

func (s *Stats) add(spec kernels.Spec) {
	k := s.Kinds[kind(spec)]
	k.Count++
	k.FLOPs += spec.FLOPs()
	k.Bytes += kernels.Bytes(spec)
	s.Kinds[kind(spec)] = k
}

// kind is a Spec's type, with its sizes and storage left out.
func kind(s kernels.Spec) string {
	s, _ = kernels.Plain(s)
	return strings.TrimPrefix(fmt.Sprintf("%T", s), "kernels.")
}

// Stats of the plan.
func (p *Plan) Stats() Stats { return p.stats }

// Times runs the plan once, waiting after each launch, and returns the seconds of each.
func (p *Plan) Times() ([]float64, error) {
	times := make([]float64, len(p.steps))
	for i := range p.steps {
		start := time.Now()
		if err := p.launch(i); err != nil {
			return nil, err
		}
		if err := p.be.Sync(); err != nil {
			return nil, fmt.Errorf("machine: %s: %w", kernels.Name(p.steps[i].spec), err)
		}
		times[i] = time.Since(start).Seconds()
	}
	return times, nil
}

// Profile is the plan's Stats with the seconds of each kind, by Times. The sum is more than a Run takes
// where kernels overlap.
func (p *Plan) Profile() (Stats, error) {
	s := p.stats
	times, err := p.Times()
	if err != nil {
		return s, err
	}
	s.Kinds = map[string]Kind{}
	for k, v := range p.stats.Kinds {
		v.Seconds = 0
		s.Kinds[k] = v
	}
	for i, seconds := range times {
		k := s.Kinds[kind(p.steps[i].spec)]
		k.Seconds += seconds
		s.Kinds[kind(p.steps[i].spec)] = k
	}
	return s, nil
}

// Explain writes the statistics as a table, the kinds with the most work first.
func (s Stats) Explain(w io.Writer) error {
	fmt.Fprintf(w, "%d nodes → %d launches of %d kernels; arena %.1f MB for values of %.1f MB (%.0f %%); %.2f GFLOP\n",
		s.Nodes, s.Kernels, s.Prepared, float64(s.ArenaBytes)/1e6, float64(s.ValueBytes)/1e6,
		100*float64(s.ArenaBytes)/float64(max(s.ValueBytes, 1)), float64(s.FLOPs())/1e9)
	names := make([]string, 0, len(s.Kinds))
	for n := range s.Kinds {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := s.Kinds[names[i]], s.Kinds[names[j]]
		if a.FLOPs != b.FLOPs {
			return a.FLOPs > b.FLOPs
		}
		return names[i] < names[j]
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "kernel\tlaunches\tGFLOP\tMB\tms\tGFLOP/s\tGB/s\t")
	for _, n := range names {
		k := s.Kinds[n]
		fmt.Fprintf(t, "%s\t%d\t%.3f\t%.1f\t", n, k.Count, float64(k.FLOPs)/1e9, float64(k.Bytes)/1e6)
		if k.Seconds > 0 {
			fmt.Fprintf(t, "%.2f\t%.1f\t%.1f\t\n", 1e3*k.Seconds, float64(k.FLOPs)/k.Seconds/1e9, float64(k.Bytes)/k.Seconds/1e9)
		} else {
			fmt.Fprintln(t, "–\t–\t–\t")
		}
	}
	return t.Flush()
}
