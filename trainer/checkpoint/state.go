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

// State is what training changes: five parallel arenas on a backend.
type State struct {
	Layout
	Backend kernels.Backend
	Params  kernels.Buffer
	Grads   kernels.Buffer
	M, V    kernels.Buffer // AdamW's first and second moments
	EMA     kernels.Buffer // average of the parameters
}

// NewState allocates the arenas of a network.
func NewState(be kernels.Backend, net model.Network) (*State, error) {
	s := &State{Layout: NewLayout(net), Backend: be}
	for _, b := range []*kernels.Buffer{&s.Params, &s.Grads, &s.M, &s.V, &s.EMA} {
		var err error
		if *b, err = be.Alloc(s.Len); err != nil {
			return nil, fmt.Errorf("trainer: memory for %d parameters and their optimizer: %w", net.NumParams(), err)
		}
	}
	return s, nil
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
}

func (s *State) sections(average bool) []section {
	all := []section{{ModelFile, "", s.Params}, {OptimizerFile, firstMoment, s.M}, {OptimizerFile, secondMoment, s.V}}
	if average {
		all = append(all, section{ModelFile, AveragePrefix, s.EMA})
	}
	return all
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
		if err := s.Backend.Write(sec.arena, arena); err != nil {
			return err
		}
	}
	return nil
}
