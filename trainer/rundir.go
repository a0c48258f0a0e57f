package trainer

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

// runDir is the folder of one run, locked for one trainer.
type runDir struct {
	path     string
	lock     *os.File
	lines    *os.File // metrics.jsonl
	events   *events.Writer
	lastBeat time.Time
}

const (
	metricsFile  = "metrics.jsonl"
	progressFile = "progress.json"
	lockFile     = ".lock"
)

// openRunDir makes or enters a run's folder and locks it. fresh says that it holds
// no run.
func openRunDir(path string) (d *runDir, fresh bool, err error) {
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
	d = &runDir{path: path}
	if d.lock, err = os.OpenFile(d.file(lockFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
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

func (d *runDir) file(name string) string { return filepath.Join(d.path, name) }

// configured is the configuration in the folder; ok is false if there is none.
func (d *runDir) configured() (c config.Config, ok bool, err error) {
	c, err = config.Load(d.file(config.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	return c, err == nil, err
}

// begin prepares the folder to go on after a step: what was logged beyond it is
// cut off. It returns the evaluations up to it.
func (d *runDir) begin(c config.Config, step int, now time.Time) (evals []metrics.EvalRecord, err error) {
	text, err := c.YAML()
	if err == nil {
		err = atomicfile.WriteBytes(d.file(config.FileName), text)
	}
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if d.lines, err = os.OpenFile(d.file(metricsFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
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
		return nil, fmt.Errorf("%s: %w", d.file(metricsFile), err)
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

// histograms logs how the weights of each parameter are distributed.
func (d *runDir) histograms(step int, s *checkpoint.State) error {
	arena, err := s.Read(s.Params)
	if err != nil {
		return err
	}
	for i, p := range s.Layout.Params {
		if err := d.events.Histogram(step, "weights/"+p.Name, s.Part(arena, i)); err != nil {
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
func (d *runDir) record(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = d.lines.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.file(metricsFile), err)
	}
	return nil
}

// step logs a training step.
func (d *runDir) step(r metrics.StepRecord, now time.Time) error {
	err := d.record(r)
	d.events.At = now
	type scalar struct {
		tag   string
		value metrics.Number
	}
	list := []scalar{{"train/loss", r.Loss}}
	for _, t := range r.Terms {
		list = append(list, scalar{"train/" + t.Name, t.Value})
	}
	for _, s := range append(list, scalar{"train/codes_used", metrics.Number(r.CodesUsed)}, scalar{"train/grad_norm", r.GradNorm},
		scalar{"train/lr", r.LR}, scalar{"speed/clips_per_s", r.ClipsPerSecond}, scalar{"speed/waiting", r.Waiting}) {
		if err == nil && s.value != 0 && s.value.Finite() {
			err = d.events.Scalar(r.Step, s.tag, float64(s.value))
		}
	}
	return err
}

// evaluation logs an evaluation.
func (d *runDir) evaluation(r metrics.EvalRecord, now time.Time) error {
	err := d.record(r)
	d.events.At = now
	type scalar struct {
		tag   string
		value metrics.Number
	}
	list := []scalar{
		{"val/psnr", r.Val.PSNR}, {"val/foreground_psnr", r.Val.ForegroundPSNR}, {"val/ssim", r.Val.SSIM}, {"val/mse", r.Val.MSE},
		{"codes/used_fraction", r.Val.Codes.UsedFraction}, {"codes/perplexity", r.Val.Codes.Perplexity},
		{"codes/dead_bits", metrics.Number(r.Val.Codes.DeadBits)},
	}
	if c := r.Classify; c != nil {
		list = []scalar{{"val/accuracy", c.Accuracy}, {"val/cross_entropy", c.CrossEntropy}}
		if c.Forecast != nil {
			list = append(list, scalar{"val/forecast", c.Forecast.Error})
		}
	}
	for _, s := range list {
		if err == nil && s.value.Finite() {
			err = d.events.Scalar(r.Step, s.tag, float64(s.value))
		}
	}
	if err == nil {
		err = d.events.Flush()
	}
	return err
}

// picture logs a PNG of a class's samples.
func (d *runDir) picture(step int, class string, encoded []byte) error {
	size, err := png.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	return d.events.Image(step, "samples/"+cmp.Or(class, "clips"), encoded, size.Width, size.Height)
}

// progress is progress.json, for whoever watches a run from outside.
type progress struct {
	State          string         `json:"state"` // training, evaluating, done, interrupted, failed
	Device         string         `json:"device"`
	Precision      string         `json:"precision"`
	Parameters     int            `json:"parameters"` // of the model
	Version        string         `json:"version"`    // of the program
	Step           int            `json:"step"`
	Steps          int            `json:"steps,omitempty"`   // of the whole run, if it is measured in steps
	Minutes        float64        `json:"minutes,omitempty"` // of the whole run, if it is measured in minutes
	Share          float64        `json:"share"`             // of the run, in [0,1]
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

// beatEvery is the age at which progress.json is replaced.
const beatEvery = 5 * time.Second

// beat replaces progress.json, if it is old or the state is worth it.
func (d *runDir) beat(p progress, force bool) error {
	if !force && p.Heartbeat.Sub(d.lastBeat) < beatEvery {
		return nil
	}
	d.lastBeat = p.Heartbeat
	text, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = atomicfile.WriteBytes(d.file(progressFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.file(progressFile), err)
	}
	if d.events != nil {
		return d.events.Flush()
	}
	return nil
}

// flush makes what was logged as safe as a checkpoint.
func (d *runDir) flush() error { return errors.Join(d.lines.Sync(), d.events.Flush()) }

// abandon leaves a folder that nothing was written to as it was found.
func (d *runDir) abandon() {
	d.close()
	os.Remove(d.file(lockFile))
	os.Remove(d.path) // fails if there is something in it
}

func (d *runDir) close() error {
	var errs []error
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	if d.lines != nil {
		errs = append(errs, d.lines.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}
