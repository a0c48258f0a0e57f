// Package rundir keeps what a run writes besides its checkpoints: its lock, configuration, records, events and progress.
package rundir

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"image/png"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/events"
	"magvit/trainer/metrics"
	"magvit/trainer/report"
	"magvit/trainer/usage"
)

// Dir is the folder of one run, locked for one trainer.
type Dir struct {
	path      string
	folder    *atomicfile.Folder
	lock      *os.File
	lines     *os.File  // metrics.jsonl
	hash      hash.Hash // of its content
	size      int64
	unwritten []byte // of its lines, after an error; Flush tries again
	events    *events.Writer
	last      map[string]metrics.Number // values of TensorBoard's scalars
	written   time.Time                 // when progress.json was replaced
	log       *slog.Logger
	warned    bool // that ornaments fail
}

const (
	MetricsFile  = "metrics.jsonl"
	ProgressFile = "progress.json"
	lockFile     = ".lock"
)

// Open makes or enters a run's folder and locks it. fresh reports that it holds
// nothing. log is for what a run can do without and cannot write.
func Open(path string, log *slog.Logger) (d *Dir, fresh bool, err error) {
	if path == "" {
		return nil, false, usage.Errorf("no run directory: want --out RUN")
	}
	folder, err := atomicfile.OpenFolder(path)
	if err != nil {
		return nil, false, usage.Errorf("run directory: %w", err)
	}
	d = &Dir{path: path, folder: folder, log: log}
	entries, err := os.ReadDir(path)
	if err != nil {
		folder.Close()
		return nil, false, usage.Errorf("run directory: %w", err)
	}
	if err := d.acquire(); err != nil {
		folder.Close()
		return nil, false, err
	}
	fresh = true
	for _, e := range entries {
		fresh = fresh && (e.Name() == lockFile || strings.HasPrefix(e.Name(), ".tmp-"))
	}
	return d, fresh, nil
}

// acquire locks the folder. A lock file that another process removed after it was opened
// here locks nothing: then a new one is opened.
func (d *Dir) acquire() error {
	for {
		f, err := os.OpenFile(d.File(lockFile), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return usage.Errorf("run directory %s cannot be written to: %w", d.path, err)
		}
		if err := lock(f); err != nil {
			f.Close()
			return usage.Errorf("run directory %s: another trainer is at work there", d.path)
		}
		opened, err := f.Stat()
		if err == nil {
			var named os.FileInfo
			if named, err = os.Stat(d.File(lockFile)); err == nil && os.SameFile(opened, named) {
				d.lock = f
				return nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return usage.Errorf("run directory %s: %w", d.path, err)
		}
	}
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

// Begin prepares the folder to continue after a step, -1 to begin from nothing: records of
// later steps are removed. It returns the evaluations up to the step.
func (d *Dir) Begin(c config.Config, step int, now time.Time) (evals []metrics.EvalRecord, err error) {
	d.sweep()
	every := c.Train.LogEvery
	if was, ok, _ := d.Config(); ok {
		every = max(every, was.Train.LogEvery)
	}
	text, err := c.YAML()
	if err == nil {
		err = atomicfile.WriteBytes(d.File(config.FileName), text)
	}
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if evals, err = d.openRecords(step, every); err != nil {
		return nil, fmt.Errorf("%s: %w", d.File(MetricsFile), err)
	}
	d.events, err = events.Open(d.path, now, step)
	if err == nil && step < 0 {
		var h map[string]any
		if h, err = hyperparameters(c); err == nil {
			err = d.events.Hyperparameters(filepath.Base(d.path), h)
		}
	}
	d.ornament(err)
	return evals, nil
}

// sweep removes the temporary files of writers that were killed.
func (d *Dir) sweep() {
	for _, name := range []string{config.FileName, ProgressFile, MetricsFile, metrics.ClassifyFile, metrics.PriorFile, "report.html", "samples/*.png", "samples/*.gif"} {
		folder, base := filepath.Split(name)
		for _, path := range atomicfile.Left(d.File(folder), base) {
			os.Remove(path)
		}
	}
}

// ornament logs the first error of what a run can do without: events, pictures and progress.
func (d *Dir) ornament(err error) {
	if err != nil && !d.warned {
		d.warned = true
		d.log.Warn("the training continues without some of its events, pictures or progress: " + err.Error())
	}
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
func (d *Dir) Histograms(step int, l checkpoint.Layout, arena []float32) {
	for i, p := range l.Params {
		if d.events != nil {
			d.ornament(d.events.Histogram(step, "weights/"+p.Name, l.Part(arena, i)))
		}
	}
}

// scalars logs the finite values to the events, and keeps them for progress.json.
func (d *Dir) scalars(step int, now time.Time, list []metrics.Scalar) {
	if d.last == nil {
		d.last = map[string]metrics.Number{}
	}
	for _, s := range list {
		if s.Value.Finite() {
			d.last[s.Name] = s.Value
		}
	}
	if d.events == nil {
		return
	}
	d.events.At = now
	for _, s := range list {
		if s.Value.Finite() {
			d.ornament(d.events.Scalar(step, s.Name, float64(s.Value)))
		}
	}
}

// Check returns an error that is atomicfile.ErrGone if the folder was removed, renamed or replaced since Open.
func (d *Dir) Check() error {
	if err := d.folder.Check(); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

// record appends a line to metrics.jsonl.
func (d *Dir) record(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", d.File(MetricsFile), err)
	}
	d.unwritten = append(append(d.unwritten, line...), '\n')
	return d.writeLines()
}

// writeLines writes what is still to be written of metrics.jsonl.
func (d *Dir) writeLines() error {
	if len(d.unwritten) == 0 {
		return nil
	}
	n, err := d.lines.Write(d.unwritten)
	d.hash.Write(d.unwritten[:n])
	d.size += int64(n)
	d.unwritten = d.unwritten[n:]
	if err != nil {
		return fmt.Errorf("%s: %w", d.File(MetricsFile), err)
	}
	return nil
}

// Step logs a training step.
func (d *Dir) Step(r metrics.StepRecord, now time.Time) error {
	list := []metrics.Scalar{{Name: "train/loss", Value: r.Loss}}
	var adversarial []metrics.Scalar // zeros too: an accuracy may be 0
	for _, t := range r.Terms {
		if metrics.IsAdversarial(t.Name) {
			adversarial = append(adversarial, metrics.Scalar{Name: "train/" + t.Name, Value: t.Value})
			continue
		}
		list = append(list, metrics.Scalar{Name: "train/" + t.Name, Value: t.Value})
	}
	if r.DiscriminatorGradNorm != nil {
		adversarial = append(adversarial, metrics.Scalar{Name: "train/discriminator_grad_norm", Value: *r.DiscriminatorGradNorm})
	}
	list = append(list, metrics.Scalar{Name: "train/codes_used", Value: metrics.Number(r.CodesUsed)}, metrics.Scalar{Name: "train/grad_norm", Value: r.GradNorm},
		metrics.Scalar{Name: "train/lr", Value: r.LR}, metrics.Scalar{Name: "speed/clips_per_s", Value: r.ClipsPerSecond}, metrics.Scalar{Name: "speed/waiting", Value: r.Waiting})
	d.scalars(r.Step, now, append(slices.DeleteFunc(list, func(s metrics.Scalar) bool { return s.Value == 0 }), adversarial...))
	return d.record(r)
}

// Evaluation logs an evaluation.
func (d *Dir) Evaluation(r metrics.EvalRecord, now time.Time) error {
	d.scalars(r.Step, now, r.Scalars())
	if d.events != nil {
		d.ornament(d.events.Flush())
	}
	return d.record(r)
}

// Picture writes a picture of an evaluation to samples/ and to the events; gif may be nil.
func (d *Dir) Picture(step int, name string, still, gif []byte) {
	d.ornament(d.picture(step, name, still, gif))
}

func (d *Dir) picture(step int, name string, still, gif []byte) error {
	size, err := png.DecodeConfig(bytes.NewReader(still))
	if err != nil {
		return err
	}
	if d.events != nil {
		if err := d.events.Image(step, "samples/"+cmp.Or(name, "clips"), still, size.Width, size.Height); err != nil {
			return err
		}
	}
	if err := os.Mkdir(d.File("samples"), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for ext, content := range map[string][]byte{"png": still, "gif": gif} {
		if content == nil {
			continue
		}
		if err := atomicfile.WriteBytes(d.File(filepath.Join("samples", report.SampleName(step, name, ext))), content); err != nil {
			return err
		}
	}
	return nil
}

// Progress is progress.json, for programs that watch a run.
type Progress struct {
	State          string                    `json:"state"` // training, evaluating, done, interrupted, failed
	Device         string                    `json:"device"`
	Precision      string                    `json:"precision"`
	Parameters     int                       `json:"parameters"` // of the model
	Version        string                    `json:"version"`    // of the program
	Step           int                       `json:"step"`
	Steps          int                       `json:"steps,omitempty"`   // of the whole run, if it is measured in steps
	Minutes        float64                   `json:"minutes,omitempty"` // of the whole run, if it is measured in minutes
	Fraction       float64                   `json:"share"`             // of the run that is done, in [0,1]
	Loss           metrics.Number            `json:"loss"`              // of the last logged step
	Terms          metrics.Terms             `json:"terms,omitempty"`
	Recon          metrics.Number            `json:"recon"` // of Terms
	PSNR           metrics.Number            `json:"psnr"`  // dB, of the last evaluation
	BestPSNR       metrics.Number            `json:"best_psnr"`
	Accuracy       metrics.Number            `json:"accuracy"`        // of a classifier, of the last evaluation, in [0,1]
	Skipped        int                       `json:"skipped"`         // steps that met NaN or Inf
	UnreadClips    int                       `json:"unread_clips"`    // clips left out because they cannot be read
	ClipsPerSecond metrics.Number            `json:"clips_per_s"`     // of the last logged steps
	Seconds        float64                   `json:"seconds"`         // since the run began, without interruptions
	ETASeconds     metrics.Number            `json:"eta_s"`           // until the end
	Checkpoint     string                    `json:"last_checkpoint"` // its name
	Heartbeat      time.Time                 `json:"heartbeat"`
	Error          string                    `json:"error,omitempty"`
	Scalars        map[string]metrics.Number `json:"scalars,omitempty"` // TensorBoard's, the last value of each; set by WriteProgress
}

// progressEvery is the age at which progress.json is replaced.
const progressEvery = 5 * time.Second

// WriteProgress replaces progress.json, if it is old or force is set.
func (d *Dir) WriteProgress(p Progress, force bool) {
	if !force && p.Heartbeat.Sub(d.written) < progressEvery {
		return
	}
	d.written, p.Scalars = p.Heartbeat, d.last
	text, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = atomicfile.WriteBytes(d.File(ProgressFile), append(text, '\n'))
	}
	d.ornament(err)
	if d.events != nil {
		d.ornament(d.events.Flush())
	}
}

// Flush makes the records as safe as a checkpoint.
func (d *Dir) Flush() error {
	if d.events != nil {
		d.ornament(d.events.Sync())
	}
	err := errors.Join(d.writeLines(), d.lines.Sync())
	opened, bad := d.lines.Stat()
	if named, gone := os.Stat(d.File(MetricsFile)); bad == nil && (gone != nil || !os.SameFile(opened, named)) {
		d.log.Warn(MetricsFile + " was removed or replaced while the run wrote to it: its records up to here are lost, and a new one begins")
		lines, reopen := os.OpenFile(d.File(MetricsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
		if reopen == nil {
			d.lines.Close()
			d.lines = lines
			d.hash, d.size = sha256.New(), 0
		}
		err = errors.Join(err, reopen)
	}
	return err
}

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
	return errors.Join(append(errs, d.lock.Close(), d.folder.Close())...)
}
