package trainer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v4"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// A checkpoint is a folder, checkpoints/step-000500, of three files:
//
//	model.safetensors      parameters by name, and their average as ema.NAME
//	optimizer.safetensors  moments as exp_avg.NAME and exp_avg_sq.NAME
//	state.json             snapshot: step, configuration, sizes and hashes of the two
//
// Beside the folders stand the text files latest and best, each with the name of
// one. Text, because links do not survive every copy.
const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
)

// snapshot is state.json: what a run needs besides its arenas to go on.
type snapshot struct {
	Step       int               `json:"step"`    // steps done
	Skipped    int               `json:"skipped"` // of which changed nothing, because of NaN or Inf
	Unlogged   int               `json:"skipped_since_record"`
	BadInARow  int               `json:"bad_in_a_row"`  // the last so many of these
	Seconds    float64           `json:"seconds"`       // of the run, without interruptions
	Best       metrics.Number    `json:"best_psnr"`     // dB, highest of the evaluations so far; null before the first
	BestStep   int               `json:"best_step"`     // its step
	Seed       uint64            `json:"seed"`          // of all randomness
	Clips      string            `json:"clips"`         // fingerprint of the clips' names
	Version    string            `json:"version"`       // of the program
	Config     map[string]any    `json:"config"`        // resolved
	ConfigHash string            `json:"config_sha256"` // of config.yaml
	Files      map[string]digest `json:"files"`
}

type digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// setConfig stores a configuration and its hash.
func (s *snapshot) setConfig(c config.Config) error {
	text, err := c.YAML()
	if err == nil {
		err = yaml.Load(text, &s.Config)
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	sum := sha256.Sum256(text)
	s.ConfigHash = hex.EncodeToString(sum[:])
	return nil
}

// config is the stored configuration; name is what errors call it.
func (s *snapshot) config(name string) (config.Config, error) {
	text, err := json.MarshalIndent(s.Config, "", "  ") // JSON is YAML
	if err != nil {
		return config.Config{}, err
	}
	return config.Parse(name+": config", text)
}

// store keeps the checkpoints of one run.
type store struct {
	dir    string                                    // RUN/checkpoints
	create func(name string) (io.WriteCloser, error) // os.Create but for tests
}

func newStore(dir string) *store {
	return &store{dir, func(name string) (io.WriteCloser, error) { return os.Create(name) }}
}

func stepName(step int) string { return fmt.Sprintf("step-%06d", step) }

// steps lists the checkpoints by step, oldest first.
func (s *store) steps() (steps []int, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		n, ok := strings.CutPrefix(e.Name(), "step-")
		if step, bad := strconv.Atoi(n); ok && bad == nil && e.IsDir() && e.Name() == stepName(step) {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, err
}

// sweep removes what writers that were killed left behind.
func (s *store) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.dir, ".tmp-*")) // the pattern is right
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

// save writes a checkpoint aside, flushes it, moves it into place, reads it back
// and only then calls it the latest. On any error nothing of it is left, and older
// checkpoints are as they were.
func (s *store) save(st *state, snap snapshot, ema bool) (err error) {
	name := stepName(snap.Step)
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("checkpoint %s was not saved: %w", name, err)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("disk full: %w; it takes about %d MB; older checkpoints are intact: free some space, then resume", err, (4+int64(st.len)*4*4)>>20+1)
		}
	}()
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.dir, ".tmp-"+name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := s.write(tmp, st, snap, ema); err != nil {
		return err
	}
	final := filepath.Join(s.dir, name)
	if _, err := verify(final); err != nil {
		os.RemoveAll(final) // a damaged one, which was skipped
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	if _, err := verify(final); err != nil {
		os.RemoveAll(final)
		return fmt.Errorf("read back: %w", err)
	}
	return s.point("latest", name)
}

// section is an arena's place in a checkpoint: a file, a prefix of its names.
type section struct {
	file, prefix string
	arena        kernels.Buffer
}

const emaPrefix = "ema."

func (s *state) sections(ema bool) []section {
	all := []section{{modelFile, "", s.params}, {optimizerFile, "exp_avg.", s.m}, {optimizerFile, "exp_avg_sq.", s.v}}
	if ema {
		all = append(all, section{modelFile, emaPrefix, s.ema})
	}
	return all
}

// write makes the files of a checkpoint in a folder.
func (s *store) write(dir string, st *state, snap snapshot, ema bool) error {
	tensors := map[string][]tensor{}
	for _, sec := range st.sections(ema) {
		arena, err := st.read(sec.arena)
		if err != nil {
			return err
		}
		if bad := st.bad(arena); bad != "" {
			return fmt.Errorf("%s%s", sec.prefix, bad)
		}
		for i, p := range st.table.params {
			tensors[sec.file] = append(tensors[sec.file], tensor{sec.prefix + p.Name, p.Shape, st.part(arena, i)})
		}
	}
	snap.Files = map[string]digest{}
	for _, file := range []string{modelFile, optimizerFile} {
		d, err := s.put(filepath.Join(dir, file), func(w io.Writer) error {
			return writeTensors(w, tensors[file], map[string]string{"format": "magvit", "step": strconv.Itoa(snap.Step)})
		})
		if err != nil {
			return err
		}
		snap.Files[file] = d
	}
	text, err := json.MarshalIndent(snap, "", "  ")
	if err != nil {
		return err
	}
	_, err = s.put(filepath.Join(dir, stateFile), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// put writes one file, flushes it to the disk and tells its size and hash.
func (s *store) put(name string, content func(io.Writer) error) (digest, error) {
	f, err := s.create(name)
	if err != nil {
		return digest{}, err
	}
	h := sha256.New()
	n := &counter{}
	err = content(io.MultiWriter(f, h, n))
	if sync, ok := f.(interface{ Sync() error }); ok && err == nil {
		err = sync.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return digest{n.n, hex.EncodeToString(h.Sum(nil))}, err
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// point replaces a text file beside the checkpoints with the name of one.
func (s *store) point(file, name string) error {
	return replaceFile(filepath.Join(s.dir, file), []byte(name+"\n"))
}

// prune removes all but the newest checkpoints and the best one; keep 0 removes none.
func (s *store) prune(keep, best int) error {
	steps, err := s.steps()
	if err != nil || keep == 0 {
		return err
	}
	for _, step := range steps[:max(len(steps)-keep, 0)] {
		if step != best {
			if err := os.RemoveAll(filepath.Join(s.dir, stepName(step))); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify reads a checkpoint's state.json and compares its files with what it says.
func verify(dir string) (snap snapshot, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return snap, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&snap); err != nil {
		return snap, fmt.Errorf("%s: not JSON: %w", stateFile, err)
	}
	if snap.Step < 0 || snap.Skipped < 0 || len(snap.Config) == 0 || snap.Files[modelFile].SHA256 == "" {
		return snap, fmt.Errorf("%s: not that of a checkpoint", stateFile)
	}
	for _, name := range []string{modelFile, optimizerFile} {
		want, ok := snap.Files[name]
		if !ok {
			continue // a checkpoint for use only has no optimizer
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return snap, err
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		f.Close()
		switch {
		case err != nil:
			return snap, fmt.Errorf("%s: %w", name, err)
		case n != want.Bytes:
			return snap, fmt.Errorf("%s: %d bytes, %d were written: truncated or replaced", name, n, want.Bytes)
		case hex.EncodeToString(h.Sum(nil)) != want.SHA256:
			return snap, fmt.Errorf("%s: content is not what was written: damaged", name)
		}
	}
	return snap, nil
}

// newest is the newest checkpoint that verifies, "" if there are none, and an
// error for each newer one that does not.
func (s *store) newest() (dir string, snap snapshot, skipped []error, err error) {
	steps, err := s.steps()
	for _, step := range slices.Backward(steps) {
		dir := filepath.Join(s.dir, stepName(step))
		if snap, err := verify(dir); err != nil {
			skipped = append(skipped, fmt.Errorf("%s: %w", stepName(step), err))
		} else {
			return dir, snap, skipped, nil
		}
	}
	return "", snap, skipped, err
}

// load reads the arenas of a checkpoint that verifies.
func (s *state) load(dir string, ema bool) error {
	files := map[string]map[string]tensor{}
	for _, sec := range s.sections(ema) {
		if files[sec.file] == nil {
			var err error
			files[sec.file], err = readTensors(filepath.Join(dir, sec.file))
			if sec.file == optimizerFile && errors.Is(err, fs.ErrNotExist) {
				return usage.Errorf("%s: a checkpoint for use only, without the optimizer's state: it cannot be trained on", dir)
			}
			if err != nil {
				return err
			}
		}
		arena, err := s.fill(files[sec.file], sec.prefix)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, sec.file), err)
		}
		if err := s.be.Write(sec.arena, arena); err != nil {
			return err
		}
	}
	return nil
}
