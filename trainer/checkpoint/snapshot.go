package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
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
}

// Digest is the size and hash of a file.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
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

// Configuration returns the stored configuration; errors call it name.
func (s *Snapshot) Configuration(name string) (config.Config, error) {
	text, err := json.MarshalIndent(s.Config, "", "  ") // JSON is YAML
	if err != nil {
		return config.Config{}, err
	}
	return config.Parse(name+": config", text)
}
