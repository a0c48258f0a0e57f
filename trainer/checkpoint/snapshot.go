package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/version"
)

// The files of a checkpoint's folder, checkpoints/step-000500.
const (
	ModelFile     = "model.safetensors"     // parameters by name, and their average as ema.NAME
	OptimizerFile = "optimizer.safetensors" // moments as exp_avg.NAME and exp_avg_sq.NAME
	StateFile     = "state.json"            // Snapshot: step, configuration, sizes and hashes of the other two
)

// Snapshot is state.json: what a run needs besides its arenas to go on.
type Snapshot struct {
	Step       int               `json:"step"`    // steps done
	Skipped    int               `json:"skipped"` // of these, steps that changed nothing because of NaN or Inf
	Unlogged   int               `json:"skipped_since_record"`
	BadInARow  int               `json:"bad_in_a_row"`  // skipped steps since the last that was applied
	Seconds    float64           `json:"seconds"`       // of the run, without interruptions
	Best       metrics.Number    `json:"best_psnr"`     // dB, highest of the evaluations so far; null before the first
	BestStep   int               `json:"best_step"`     // its step
	Seed       uint64            `json:"seed"`          // of all randomness
	Clips      string            `json:"clips"`         // fingerprint of the clips' names
	Version    string            `json:"version"`       // of the program
	Config     map[string]any    `json:"config"`        // resolved
	ConfigHash string            `json:"config_sha256"` // of config.yaml
	Files      map[string]Digest `json:"files"`

	Records              Digest     `json:"records,omitzero"`                // of metrics.jsonl up to this step
	DiscriminatorUpdates int        `json:"discriminator_updates,omitempty"` // steps of the discriminator that were applied
	Instructions         string     `json:"instructions,omitempty"`          // instruction set or device that computed the weights
	Init                 string     `json:"init,omitempty"`                  // checkpoint or file whose weights the run began with
	Perceptual           string     `json:"perceptual_sha256,omitempty"`     // of the weights of model.loss.perceptual
	Classes              []string   `json:"classes,omitempty"`               // names of the classes by their numbers, of a network that knows them; old checkpoints lack them
	Extension            *Extension `json:"extension,omitempty"`             // of a finished run; nil: none
	StateHash            string     `json:"state_sha256,omitempty"`          // of state.json with 64 zeros in this place; last
}

// Extension is where a run was made longer with a learning rate of its own, see config.Train.
type Extension struct {
	Step     int     `json:"step"`     // before which it begins
	Progress float64 `json:"progress"` // of the longer run at that step, in [0,1]
	LR       float64 `json:"lr"`       // of the last step before it
}

// Digest is the size and hash of a file.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// encode returns the text of state.json.
func (s Snapshot) encode() ([]byte, error) {
	s.StateHash = noHash
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	at := bytes.LastIndex(text, []byte(noHash))
	copy(text[at:], hex.EncodeToString(sum[:]))
	return append(text, '\n'), nil
}

// noHash is the place of StateHash while it is computed.
var noHash = strings.Repeat("0", 2*sha256.Size)

// decode reads the text of state.json. All damage is found by its hash, which only
// files of older versions lack.
func decode(text []byte) (s Snapshot, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		if hashed(text) {
			return s, fmt.Errorf("%s: written by another version of the program: %w", StateFile, err)
		}
		return s, damaged("%s: not that of a checkpoint: %w", StateFile, err)
	}
	if s.StateHash != "" && !hashed(text) {
		return s, damaged("%s: content is not what was written: damaged", StateFile)
	}
	if s.Step < 0 || s.Skipped < 0 || s.Skipped > s.Step || len(s.Config) == 0 || s.Files[ModelFile].SHA256 == "" {
		return s, damaged("%s: not that of a checkpoint", StateFile)
	}
	return s, nil
}

// hashed reports whether a text of state.json holds its own hash.
func hashed(text []byte) bool {
	const key = `"state_sha256": "`
	at := bytes.LastIndex(text, []byte(key)) + len(key)
	if at < len(key) || at+len(noHash) > len(text) {
		return false
	}
	got := string(text[at : at+len(noHash)])
	blank := bytes.TrimSuffix(bytes.Clone(text), []byte("\n"))
	copy(blank[at:], noHash)
	sum := sha256.Sum256(blank)
	return got == hex.EncodeToString(sum[:])
}

// SetConfig stores a configuration and its hash.
func (s *Snapshot) SetConfig(c config.Config) error {
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

// checkConfig finds damage in the configuration of a state.json without a hash of its own.
func (s *Snapshot) checkConfig() error {
	if s.StateHash != "" {
		return nil
	}
	c, err := s.Configuration(StateFile)
	if err != nil {
		return damage{err}
	}
	again := Snapshot{}
	if err := again.SetConfig(c); err != nil || s.Version != version.String() || s.ConfigHash == "" {
		return err // other versions have other keys
	}
	if again.ConfigHash != s.ConfigHash {
		return damaged("%s: the configuration is not what was written: damaged", StateFile)
	}
	return nil
}

// Configuration returns the stored configuration; errors call it name.
func (s *Snapshot) Configuration(name string) (config.Config, error) {
	text, err := json.MarshalIndent(s.Config, "", "  ") // JSON is YAML
	if err != nil {
		return config.Config{}, err
	}
	return config.ParseResolved(name+": config", text)
}
