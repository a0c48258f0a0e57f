package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/usage"
)

// State is what training changes: parallel arenas on a backend.
type State struct {
	Layout
	Backend kernels.Backend
	Params  kernels.Buffer
	Grads   kernels.Buffer
	M, V    kernels.Buffer // AdamW's first and second moments, of the values in Shard
	EMA     kernels.Buffer // average of the parameters, Params itself without one; where moments are sharded, up to date in Shard alone

	Average bool // EMA is an arena of its own
	Shard   Shard
	Padded  kernels.Buffer // Params, and as many values more as make all shards equal

	// Gathered are the moments of all ranks in the host's memory, where M and V are shards: what
	// Load has read, and what Save writes. nil: they are not known here.
	Gathered [][]float32
}

// Shard is the part of the optimizer's state that one of several ranks keeps (ZeRO-1:
// Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter
// models", 2020). The zero value is all of it.
type Shard struct{ Rank, Size int }

// Whole reports whether there is one shard.
func (s Shard) Whole() bool { return s.Size < 2 }

// each is the number of values of a shard of n values: whole cache lines, so that kernels
// compute a value alike in any shard.
func (s Shard) each(n int) int { return ((n+s.Size-1)/s.Size + 15) / 16 * 16 }

// Of is the range of a rank's shard of n values.
func (s Shard) Of(rank, n int) (from, to int) {
	if s.Whole() {
		return 0, n
	}
	return min(n, rank*s.each(n)), min(n, (rank+1)*s.each(n))
}

// Own is the range of this rank's shard of an arena.
func (s *State) Own() (from, to int) { return s.Shard.Of(s.Shard.Rank, s.Len) }

// OwnPadded is this rank's part of Padded.
func (s *State) OwnPadded() kernels.Buffer {
	each := s.Shard.each(s.Len)
	return s.Padded.Slice(s.Shard.Rank*each, (s.Shard.Rank+1)*each)
}

// NewState allocates the arenas of a network, the average's too.
func NewState(be kernels.Backend, net model.Network) (*State, error) {
	return NewShardedState(be, net, Shard{}, true)
}

// NewShardedState allocates the arenas of a network, and of the moments a shard; that of the average if there is one.
func NewShardedState(be kernels.Backend, net model.Network, shard Shard, average bool) (*State, error) {
	s := &State{Layout: NewLayout(net), Backend: be, Shard: shard}
	padded := s.Len
	if !shard.Whole() {
		padded = shard.each(s.Len) * shard.Size
	}
	from, to := s.Own()
	type arena struct {
		to *kernels.Buffer
		n  int
	}
	arenas := []arena{{&s.Padded, padded}, {&s.Grads, s.Len}, {&s.M, max(1, to-from)}, {&s.V, max(1, to-from)}}
	if average {
		arenas = append(arenas, arena{&s.EMA, s.Len})
	}
	for _, a := range arenas {
		var err error
		if *a.to, err = be.Alloc(a.n); err != nil {
			return nil, fmt.Errorf("trainer: memory for %d parameters and their optimizer: %w", net.NumParams(), err)
		}
	}
	s.Params, s.Average = s.Padded.Slice(0, s.Len), average
	if !average {
		s.EMA = s.Params
	}
	return s, nil
}

// Bytes is the memory of a network's parameters, gradients and moments, and of the parameters' average if there is one.
func (s Shard) Bytes(params int, average bool) int64 {
	whole := 2
	if average {
		whole = 3
	}
	return 4 * (int64(whole*params) + 2*int64(params)/int64(max(1, s.Size)))
}

// Read copies an arena from the backend.
func (s *State) Read(b kernels.Buffer) ([]float32, error) {
	arena := make([]float32, b.Len())
	return arena, s.Backend.Read(arena, b)
}

// AveragePrefix begins the names of the average's tensors.
const AveragePrefix = "ema."

// section is an arena's place in a checkpoint: a file and a prefix of its names.
type section struct {
	file, prefix string
	arena        kernels.Buffer
	moment       int // index in Gathered, from 1, where moments are sharded; else 0
}

func (s *State) sections(average bool) []section {
	all := []section{{ModelFile, "", s.Params, 0}, {OptimizerFile, firstMoment, s.M, 0}, {OptimizerFile, secondMoment, s.V, 0}}
	if !s.Shard.Whole() {
		all[1].moment, all[2].moment = 1, 2
	}
	if average {
		all = append(all, section{ModelFile, AveragePrefix, s.EMA, 0})
	}
	return all
}

// read copies parameter i of a section to dst.
func (s *State) read(dst []float32, sec section, i int) error {
	from := s.Offsets[i]
	switch {
	case sec.moment == 0:
		return s.Backend.Read(dst, sec.arena.Slice(from, from+len(dst)))
	case s.Gathered == nil:
		return errors.New("the optimizer's state is sharded, and that of other ranks is not here")
	}
	copy(dst, s.Gathered[sec.moment-1][from:])
	return nil
}

// write replaces the arena of a section.
func (s *State) write(sec section, arena []float32) error {
	if sec.moment == 0 {
		return s.Backend.Write(sec.arena, arena)
	}
	if s.Gathered == nil {
		s.Gathered = make([][]float32, 2)
	}
	s.Gathered[sec.moment-1] = arena
	return nil
}

const (
	firstMoment  = "exp_avg."
	secondMoment = "exp_avg_sq."
)

// Load reads the arenas of a checkpoint that verifies, with or without the average.
func (s *State) Load(dir string, average bool) error {
	files := map[string]map[string]Tensor{}
	for _, sec := range s.sections(average) {
		if files[sec.file] == nil {
			var err error
			files[sec.file], err = ReadTensors(filepath.Join(dir, sec.file))
			if sec.file == OptimizerFile && errors.Is(err, fs.ErrNotExist) {
				return usage.Errorf("%s: a checkpoint for use only, without the optimizer's state: it cannot be trained on", dir)
			}
			if err != nil {
				return err
			}
		}
		arena, err := s.Fill(files[sec.file], sec.prefix)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, sec.file), err)
		}
		if bad := s.FirstNonFinite(arena); bad != "" {
			return usage.Errorf("%s: %s%s is not finite: a training cannot continue from it; use an older checkpoint: --resume CHECKPOINT --out NEW", filepath.Join(dir, sec.file), sec.prefix, bad)
		}
		if err := s.write(sec, arena); err != nil {
			return err
		}
	}
	return nil
}
