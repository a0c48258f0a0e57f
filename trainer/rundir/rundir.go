// Package rundir keeps what a run writes besides its checkpoints: its lock, configuration, records, events and progress.
package rundir

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/events"
	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// Dir is the folder of one run, locked for one trainer.
type Dir struct {
	path    string
	lock    *os.File
	lines   *os.File // metrics.jsonl
	events  *events.Writer
	written time.Time // when progress.json was replaced
}

const (
	MetricsFile  = "metrics.jsonl"
	ProgressFile = "progress.json"
	lockFile     = ".lock"
)

// Open makes or enters a run's folder and locks it. fresh reports that it holds
// nothing.
func Open(path string) (d *Dir, fresh bool, err error) {
	if path == "" {
		return nil, false, usage.Errorf("no run directory: want --out RUN")
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, false, usage.Errorf("run directory: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, false, usage.Errorf("run directory: %w", err)
	}
	d = &Dir{path: path}
	if d.lock, err = os.OpenFile(d.File(lockFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return nil, false, usage.Errorf("run directory %s cannot be written to: %w", path, err)
	}
	if err := lock(d.lock); err != nil {
		d.lock.Close()
		return nil, false, usage.Errorf("run directory %s: another trainer is at work there", path)
	}
	fresh = true
	for _, e := range entries {
		fresh = fresh && (e.Name() == lockFile || strings.HasPrefix(e.Name(), ".tmp-"))
	}
	return d, fresh, nil
}

// File returns the path of a file of the run.
func (d *Dir) File(name string) string { return filepath.Join(d.path, name) }

// Config returns the configuration in the folder; ok is false if there is none.
func (d *Dir) Config() (c config.Config, ok bool, err error) {
	c, err = config.Load(d.File(config.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	return c, err == nil, err
}

// Begin prepares the folder to continue after a step: records of later steps are
// removed. It returns the evaluations up to the step.
func (d *Dir) Begin(c config.Config, step int, now time.Time) (evals []metrics.EvalRecord, err error) {
	text, err := c.YAML()
	if err == nil {
		err = atomicfile.WriteBytes(d.File(config.FileName), text)
	}
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if d.lines, err = os.OpenFile(d.File(MetricsFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	end, evals, err := recordsUntil(d.lines, step)
	if err == nil {
		err = d.lines.Truncate(end)
	}
	if err == nil {
		_, err = d.lines.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.File(MetricsFile), err)
	}
	if d.events, err = events.Open(d.path, now, step); err != nil {
		return nil, err
	}
	if step == 0 {
		var h map[string]any
		if h, err = hyperparameters(c); err == nil {
			err = d.events.Hyperparameters(filepath.Base(d.path), h)
		}
	}
	return evals, err
}

// hyperparameters are the leaves of a configuration as TensorBoard shows them: numbers, truth values and texts.
func hyperparameters(c config.Config) (map[string]any, error) {
	leaves, err := c.Dotted()
	all := map[string]any{}
	for _, l := range leaves {
		switch v := l.Value.(type) {
		case int:
			all[l.Key] = float64(v)
		case float64, bool, string:
			all[l.Key] = v
		default:
			all[l.Key] = fmt.Sprint(v)
		}
	}
	return all, err
}

// Histograms logs the distribution of the weights of each parameter.
func (d *Dir) Histograms(step int, l checkpoint.Layout, arena []float32) error {
	for i, p := range l.Params {
		if err := d.events.Histogram(step, "weights/"+p.Name, l.Part(arena, i)); err != nil {
			return err
		}
	}
	return nil
}

// recordsUntil reads the records up to a step: where they end and the evaluations among
// them. It stops at the first line that is broken or beyond the step.
func recordsUntil(r io.Reader, step int) (end int64, evals []metrics.EvalRecord, err error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return end, evals, err
		}
		var record struct {
			Step     *int                    `json:"step"`
			Val      *metrics.Report         `json:"val"`
			Classify *metrics.Classification `json:"classify"`
		}
		if json.Unmarshal(line, &record) != nil || record.Step == nil || *record.Step > step {
			return end, evals, nil
		}
		if record.Val != nil {
			evals = append(evals, metrics.EvalRecord{Step: *record.Step, Val: *record.Val})
		}
		if record.Classify != nil {
			evals = append(evals, metrics.EvalRecord{Step: *record.Step, Classify: record.Classify})
		}
		end += int64(len(line))
	}
}

// record appends a line to metrics.jsonl.
func (d *Dir) record(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = d.lines.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.File(MetricsFile), err)
	}
	return nil
}

// Step logs a training step.
func (d *Dir) Step(r metrics.StepRecord, now time.Time) error {
	err := d.record(r)
	d.events.At = now
	list := []metrics.Scalar{{Name: "train/loss", Value: r.Loss}}
	for _, t := range r.Terms {
		list = append(list, metrics.Scalar{Name: "train/" + t.Name, Value: t.Value})
	}
	for _, s := range append(list, metrics.Scalar{Name: "train/codes_used", Value: metrics.Number(r.CodesUsed)}, metrics.Scalar{Name: "train/grad_norm", Value: r.GradNorm},
		metrics.Scalar{Name: "train/lr", Value: r.LR}, metrics.Scalar{Name: "speed/clips_per_s", Value: r.ClipsPerSecond}, metrics.Scalar{Name: "speed/waiting", Value: r.Waiting}) {
		if err == nil && s.Value != 0 && s.Value.Finite() {
			err = d.events.Scalar(r.Step, s.Name, float64(s.Value))
		}
	}
	return err
}

// Evaluation logs an evaluation.
func (d *Dir) Evaluation(r metrics.EvalRecord, now time.Time) error {
	err := d.record(r)
	d.events.At = now
	for _, s := range r.Scalars() {
		if err == nil && s.Value.Finite() {
			err = d.events.Scalar(r.Step, s.Name, float64(s.Value))
		}
	}
	if err == nil {
		err = d.events.Flush()
	}
	return err
}

// Picture logs a PNG of a class's samples.
func (d *Dir) Picture(step int, class string, encoded []byte) error {
	size, err := png.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	return d.events.Image(step, "samples/"+cmp.Or(class, "clips"), encoded, size.Width, size.Height)
}

// Progress is progress.json, for programs that watch a run.
type Progress struct {
	State          string         `json:"state"` // training, evaluating, done, interrupted, failed
	Device         string         `json:"device"`
	Precision      string         `json:"precision"`
	Parameters     int            `json:"parameters"` // of the model
	Version        string         `json:"version"`    // of the program
	Step           int            `json:"step"`
	Steps          int            `json:"steps,omitempty"`   // of the whole run, if it is measured in steps
	Minutes        float64        `json:"minutes,omitempty"` // of the whole run, if it is measured in minutes
	Fraction       float64        `json:"share"`             // of the run that is done, in [0,1]
	Loss           metrics.Number `json:"loss"`              // of the last logged step
	Terms          metrics.Terms  `json:"terms,omitempty"`
	Recon          metrics.Number `json:"recon"` // of Terms
	PSNR           metrics.Number `json:"psnr"`  // dB, of the last evaluation
	BestPSNR       metrics.Number `json:"best_psnr"`
	Accuracy       metrics.Number `json:"accuracy"`        // of a classifier, of the last evaluation, in [0,1]
	Skipped        int            `json:"skipped"`         // steps that met NaN or Inf
	UnreadClips    int            `json:"unread_clips"`    // clips left out because they cannot be read
	ClipsPerSecond metrics.Number `json:"clips_per_s"`     // of the last logged steps
	Seconds        float64        `json:"seconds"`         // since the run began, without interruptions
	ETASeconds     metrics.Number `json:"eta_s"`           // until the end
	Checkpoint     string         `json:"last_checkpoint"` // its name
	Heartbeat      time.Time      `json:"heartbeat"`
	Error          string         `json:"error,omitempty"`
}

// progressEvery is the age at which progress.json is replaced.
const progressEvery = 5 * time.Second

// WriteProgress replaces progress.json, if it is old or force is set.
func (d *Dir) WriteProgress(p Progress, force bool) error {
	if !force && p.Heartbeat.Sub(d.written) < progressEvery {
		return nil
	}
	d.written = p.Heartbeat
	text, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = atomicfile.WriteBytes(d.File(ProgressFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.File(ProgressFile), err)
	}
	if d.events != nil {
		return d.events.Flush()
	}
	return nil
}

// Flush makes the records as safe as a checkpoint.
func (d *Dir) Flush() error { return errors.Join(d.lines.Sync(), d.events.Flush()) }

// Begun reports whether Begin has changed the folder.
func (d *Dir) Begun() bool { return d.lines != nil }

// Abandon leaves a folder that Begin has not changed as it was found.
func (d *Dir) Abandon() {
	d.Close()
	os.Remove(d.File(lockFile))
	os.Remove(d.path) // fails if there is something in it
}

// Close closes the files and releases the lock.
func (d *Dir) Close() error {
	var errs []error
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	if d.lines != nil {
		errs = append(errs, d.lines.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}
