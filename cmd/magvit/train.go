package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/checkpoint"
	"magvit/trainer/codes"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:  "train",
		Usage: "train a tokenizer, or resume a run",
		Description: example(
			"magvit train --data films/ --out runs/films",
			"magvit train --preset demo --data clips.npz --out runs/demo",
			"magvit train --preset tiny --data clips/ --out runs/wide --steps 500 --set model.init_dim=32 --set train.lr=2e-3",
			"magvit train --preset demo --data mine/ --out runs/tuned --init runs/demo --set train.lr=2e-4",
			"magvit train --config my.yaml --data 'clips/*.mp4' --out runs/mine --minutes 600"),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "preset", DefaultText: "chosen by the clips; with --init or --resume RUN its configuration", Usage: "start from the preset `NAME` (magvit presets lists them)"},
			&cli.StringFlag{Name: "config", Usage: "read the configuration from a YAML `FILE`"},
			dataFlag(),
			&cli.StringSliceFlag{Name: "val", Usage: "held-out clips, `DATA`: all clips of --data are for training; may be given again"},
			indexFlag(),
			&cli.StringFlag{Name: "out", Usage: "the run's directory, `RUN`"},
			&cli.IntFlag{Name: "steps", DefaultText: "the preset's", Usage: "length of the whole run in steps; alone, it replaces the preset's minutes"},
			&cli.Float64Flag{Name: "minutes", DefaultText: "the preset's", Usage: "length of the whole run in minutes; alone, it replaces the preset's steps"},
			&cli.StringFlag{Name: "resume", Value: "auto", Usage: "auto: resume the run in --out, if there is one; never; or a checkpoint's `DIR`, which continues in an empty --out with other training settings too"},
			&cli.StringFlag{Name: "init", Usage: "begin a new run with the weights of `RUN`, a checkpoint or a .safetensors file, settings are free"},
			&cli.BoolFlag{Name: "init-partial", Usage: "with --init: take the tensors that fit, name the others"},
			&cli.StringFlag{Name: "tokenizer", Usage: "of a prior or a classifier on codes: the `RUN` or checkpoint of the tokenizer that makes the codes of the clips"},
			&cli.Uint64Flag{Name: "seed", DefaultText: "the preset's", Usage: "of weights, batches and augmentation"},
			&cli.StringSliceFlag{Name: "set", Usage: "override a key of the configuration, `KEY=VALUE`; may be given again"},
			&cli.BoolFlag{Name: "strict", Usage: "stop at a clip that cannot be read, instead of leaving it out"},
			&cli.StringFlag{Name: "metrics-addr", Usage: "answer Prometheus at `ADDRESS`, such as :9100 (this machine only) or 0.0.0.0:9100"},
			jsonFlag(),
		}, deviceFlags()...),
		Action: train,
	}
}

func train(c *cli.Context) error {
	if err := need(c, "data", "out"); err != nil {
		return err
	}
	if err := checkFolder("--out", c.String("out")); err != nil {
		return err
	}
	if err := protectFrom(data.IsRun, c.String("out"), "--out", append(c.StringSlice("data"), c.StringSlice("val")...)...); err != nil {
		return err
	}
	group, err := openRanks(c)
	if err != nil {
		return err
	}
	p := newProgress(c, "train", 0)
	defer p.close()
	launched.describe(p.log)
	var src data.Source
	var cfg config.Config
	open := func() (func(), error) {
		if cfg.Model.IsPrior() && cfg.Train.Tokenizer == "" {
			return openCodes(c, &src)
		}
		cache := ""
		if launched.first() {
			cache = filepath.Join(c.String("out"), "set.index")
		}
		s, closeData, err := openData(c, p.log, c.StringSlice("data"), cache, data.Options{Val: c.StringSlice("val"), Images: cfg.Data.Images})
		src = s
		return closeData, err
	}
	if !c.IsSet("preset") && !c.IsSet("config") && beginning(c) == "" {
		closeData, err := open()
		if err != nil {
			return err
		}
		defer closeData()
		if err := setPreset(c, src, c.String("device"), p.log); err != nil {
			return err
		}
	}
	if cfg, err = configuration(c); err != nil {
		return err
	}
	if cfg.Data.Images && src != nil {
		return usagef("data.images: the preset was chosen by clips of folders of frames; give --preset or --config, too")
	}
	if group != nil {
		group.SetTimeout(time.Duration(cfg.Train.Timeout * float64(time.Second)))
	}
	be, err := openDevice(c, p.log)
	if err != nil {
		return err
	}
	defer be.Close()
	switch why, err := connectGPUs(c.Context, be, group, time.Duration(cfg.Train.Timeout*float64(time.Second))); {
	case err != nil:
		return err
	case why != nil:
		p.log.Warn("gradients go through the hosts' memory: " + why.Error())
	}
	if addr := c.String("metrics-addr"); addr != "" && launched.first() {
		stop, err := serveMetrics(addr, c.String("out"), p.log)
		if err != nil {
			return err
		}
		defer stop()
	}
	if src == nil {
		closeData, err := open()
		if err != nil {
			return err
		}
		defer closeData()
	}
	r, err := trainer.Run(c.Context, trainer.Options{
		Config: cfg, Source: src, Out: c.String("out"), Resume: c.String("resume"), Init: c.String("init"), InitPartial: c.Bool("init-partial"), Backend: be, Log: p.log,
		OnStep: fractionOfRun(p, cfg.Train, c.String("out")), Ranks: group,
	})
	p.close()
	if err != nil || !launched.first() {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, trained{r.Step, r.Dir, r.Checkpoint, r.BestPSNR, r.BestStep, r.Report, r.Classified, r.Likelihood})
	}
	return writeTrained(c.App.Writer, r)
}

// openCodes opens the clips of a prior: sets of codes.
func openCodes(c *cli.Context, src *data.Source) (func(), error) {
	if c.IsSet("val") {
		return nil, usagef("--val with a prior: held-out clips are chosen by data.val_share")
	}
	s, err := codes.OpenSource(c.Context, c.StringSlice("data"))
	*src = s
	return func() {}, err
}

// trained is what train --json prints.
type trained struct {
	Step       int                     `json:"step"`
	Run        string                  `json:"run"`
	Checkpoint string                  `json:"checkpoint"`
	BestPSNR   metrics.Number          `json:"best_psnr"`
	BestStep   int                     `json:"best_step"`
	Val        metrics.Report          `json:"val,omitzero"`
	Classify   *metrics.Classification `json:"classify,omitempty"` // instead, of a classifier
	Prior      *metrics.Likelihood     `json:"prior,omitempty"`    // instead, of a prior
}

func writeTrained(w io.Writer, r trainer.Result) error {
	if r.Report.Clips > 0 {
		if err := metrics.WriteText(w, r.Report); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if r.Classified != nil {
		if err := metrics.WriteClassification(w, *r.Classified); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if r.Likelihood != nil {
		if err := metrics.WriteLikelihood(w, *r.Likelihood); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%d steps done; checkpoint %s; report %s\n", r.Step,
		filepath.Join(r.Dir, "checkpoints", r.Checkpoint), filepath.Join(r.Dir, "report.html"))
	return err
}

// beginning is the run or checkpoint that --init or --resume names, whose configuration a new run has where no other is
// given; "" without one.
func beginning(c *cli.Context) string {
	from := c.String("init")
	if r := c.String("resume"); r != "auto" && r != "never" && r != "" {
		from = r
	}
	if strings.EqualFold(filepath.Ext(from), ".safetensors") || c.IsSet("preset") || c.IsSet("config") {
		return ""
	}
	return from
}

// baseConfiguration is that of --config, of --preset, or of --init or --resume where neither is given, with --set laid over it, not validated.
func baseConfiguration(c *cli.Context) (cfg config.Config, err error) {
	switch {
	case c.IsSet("preset") && c.IsSet("config"):
		return cfg, usagef("--preset and --config: give one of them; a configuration file can name a preset")
	case c.IsSet("config"):
		cfg, err = config.Load(c.String("config"))
	case beginning(c) != "":
		cfg, err = checkpoint.Configuration(beginning(c))
	default:
		cfg, err = config.Preset(c.String("preset"))
	}
	if err != nil {
		return cfg, err
	}
	for _, s := range c.StringSlice("set") {
		if err := cfg.Set(s); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// configuration is baseConfiguration with the other flags laid over it.
func configuration(c *cli.Context) (cfg config.Config, err error) {
	if cfg, err = baseConfiguration(c); err != nil {
		return cfg, err
	}
	t := &cfg.Train
	switch steps, minutes := c.IsSet("steps"), c.IsSet("minutes"); {
	case steps && c.Int("steps") < 1:
		return cfg, usagef("--steps %d: want 1 or more", c.Int("steps"))
	case minutes && !(c.Float64("minutes") > 0):
		return cfg, usagef("--minutes %v: want more than 0", c.Float64("minutes"))
	case steps || minutes:
		t.Steps, t.Minutes, t.Epochs = c.Int("steps"), c.Float64("minutes"), 0
	}
	if c.IsSet("tokenizer") {
		t.Tokenizer = c.String("tokenizer")
	}
	if c.IsSet("seed") {
		t.Seed = c.Uint64("seed")
	}
	if c.IsSet("precision") {
		t.Precision = c.String("precision")
	} else if err := c.Set("precision", t.Precision); err != nil { // for the check of the device
		return cfg, err
	}
	cfg.Data.Strict = cfg.Data.Strict || c.Bool("strict")
	return cfg, cfg.Validate()
}

// fractionOfRun advances the bar after each step. Times and the last evaluation are those of progress.json, which a run
// replaces every few seconds and which Prometheus is given, too.
func fractionOfRun(p *progress, t config.Train, dir string) func(step int) {
	var last runProgress
	var read time.Time
	return func(step int) {
		if now := time.Now(); now.Sub(read) >= time.Second {
			read, last = now, progressOf(dir)
			if last.Steps > 0 {
				t.Steps = last.Steps // of a run in epochs, too
			}
		}
		elapsed := last.Seconds
		if !last.Heartbeat.IsZero() {
			elapsed += max(time.Since(last.Heartbeat).Seconds(), 0)
		}
		fraction := 0.
		if t.Steps > 0 {
			fraction = float64(step) / float64(t.Steps)
		}
		if t.Minutes > 0 {
			fraction = max(fraction, elapsed/60/t.Minutes)
		}
		p.show(fraction, last.line(step, t.Steps, elapsed))
	}
}

// line describes a training: steps, loss, PSNR of the last evaluation, time elapsed and left.
func (r runProgress) line(step, steps int, elapsed float64) string {
	line := fmt.Sprintf("step %d", step)
	if steps > 0 {
		line += fmt.Sprintf(" of %d", steps)
	}
	if r.Loss != nil {
		line += fmt.Sprintf("  loss %.4g", *r.Loss)
	}
	if r.PSNR != nil {
		line += fmt.Sprintf("  PSNR %.1f dB", *r.PSNR)
	}
	if r.ClipsPerSecond != nil {
		line += fmt.Sprintf("  %.1f clips/s", *r.ClipsPerSecond)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Second) }
	line += fmt.Sprintf("  %v elapsed", seconds(elapsed))
	if r.ETA != nil {
		line += fmt.Sprintf("  %v left", seconds(max(*r.ETA-(elapsed-r.Seconds), 0)))
	}
	return line
}

// runProgress is a part of progress.json; zero if that cannot be read, since it is only displayed.
type runProgress struct {
	Seconds        float64
	Steps          int
	Loss           *float64
	PSNR           *float64
	ClipsPerSecond *float64 `json:"clips_per_s"`
	ETA            *float64 `json:"eta_s"`
	Heartbeat      time.Time
}

func progressOf(dir string) (r runProgress) {
	text, err := os.ReadFile(filepath.Join(dir, "progress.json"))
	if err = errors.Join(err, json.Unmarshal(text, &r)); err != nil {
		return runProgress{}
	}
	return r
}
