package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"magvit/trainer/data"
)

func benchDataCommand() *cli.Command {
	return &cli.Command{
		Name:        "data",
		Usage:       "reading of clips as training reads them: clips/s, frames/s by stage, memory, and whether training waits",
		Description: example("magvit bench data --data films/ --preset film-64", "magvit bench data --data films/ --preset film-128 --set data.workers=4 --step 250ms --json"),
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "preset", DefaultText: "the one that train would choose", Usage: "the preset `NAME` whose data.* keys and batch are used"},
			&cli.StringFlag{Name: "config", Usage: "a configuration `FILE` instead of a preset"},
			&cli.StringSliceFlag{Name: "set", Usage: "override a key, `KEY=VALUE`, e.g. data.workers=4"},
			indexFlag(),
			&cli.IntFlag{Name: "clips", Value: 64, Usage: "clips to read"},
			&cli.DurationFlag{Name: "step", Usage: "the seconds of a training step (magvit bench step measures them): each batch is used for so long"},
			jsonFlag(),
		},
		Action: benchData,
	}
}

// dataResult is what bench data prints with --json. CPU seconds of ffmpeg are
// those of its processes that have ended.
type dataResult struct {
	Clips          int               `json:"clips"`
	Frames         int               `json:"frames"`
	Shape          [5]int            `json:"shape"` // of a batch: clips, frames, height, width, channels
	Workers        int               `json:"workers"`
	OpenSeconds    float64           `json:"open_s"` // opening and listing the set
	Seconds        float64           `json:"s"`      // reading the clips
	ClipsPerSecond float64           `json:"clips_per_s"`
	Stages         map[string]*stage `json:"stages"`         // decode, resize, batch
	CPUPerClip     float64           `json:"cpu_s_per_clip"` // of this program and of ffmpeg, after opening, with prefetched clips
	FFmpegPerClip  float64           `json:"ffmpeg_cpu_s_per_clip"`
	PeakBytes      int64             `json:"peak_bytes"`       // resident memory of this program, without ffmpeg
	StepSeconds    float64           `json:"step_s,omitempty"` // --step
	Waiting        float64           `json:"waiting"`          // fraction of the time that the consumer of the batches waited for them
	BatchSeconds   float64           `json:"batch_s"`          // time to read a batch with all workers: training waits if its step is shorter
	Skipped        int               `json:"skipped"`          // unreadable clips
}

// stage is a stage of reading. Seconds are summed over the workers.
type stage struct {
	Seconds         float64 `json:"s"`
	FramesPerSecond float64 `json:"frames_per_s"` // of one worker
}

func benchData(c *cli.Context) error {
	if err := need(c, "data"); err != nil {
		return err
	}
	if c.Int("clips") < 1 {
		return usagef("--clips %d: want 1 or more", c.Int("clips"))
	}
	if c.Duration("step") < 0 {
		return usagef("--step %v: want 0 or more", c.Duration("step"))
	}
	began := time.Now()
	log := logger(c.App.ErrWriter)
	opt := data.Options{}
	if c.IsSet("preset") || c.IsSet("config") {
		cfg, err := baseConfiguration(c)
		if err != nil {
			return err
		}
		opt.Images = cfg.Data.Images
	}
	src, closeData, err := openData(c, log, c.StringSlice("data"), "", opt)
	if err != nil {
		return err
	}
	defer closeData()
	if !c.IsSet("preset") && !c.IsSet("config") {
		if err := setPreset(c, src, "cpu", log); err != nil {
			return err
		}
	}
	cfg, err := baseConfiguration(c)
	if err != nil {
		return err
	}
	all := make([]int, src.Len())
	for i := range all {
		all[i] = i
	}
	before := usedSoFar()
	l, err := data.NewLoader(src, all, cfg.Data, max(cfg.Train.Batch, 1), cfg.Train.Seed, true)
	if err != nil {
		return err
	}
	defer l.Close()
	r := dataResult{OpenSeconds: time.Since(began).Seconds(), Workers: max(l.Config().Workers, 1), StepSeconds: c.Duration("step").Seconds()}
	if err := r.read(c, l); err != nil {
		return err
	}
	l.Close() // its last ffmpegs are counted too
	r.used(before, usedSoFar(), l.Stages().Clips)
	r.Skipped = len(l.Skipped())
	for _, s := range l.Skipped() {
		log.Warn("clip left out: " + s.Error())
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return r.write(c.App.Writer)
}

// read takes batches of l until it has --clips clips.
func (r *dataResult) read(c *cli.Context, l *data.Loader) error {
	began := time.Now()
	for r.Clips < c.Int("clips") {
		b, err := l.Next(c.Context)
		if err != nil {
			return err
		}
		r.Clips += b.N
		r.Frames += b.N * b.T
		r.Shape = [5]int{b.N, b.T, b.H, b.W, b.C}
		select {
		case <-time.After(c.Duration("step")):
		case <-c.Context.Done():
			return c.Context.Err()
		}
	}
	r.Seconds = time.Since(began).Seconds()
	s := l.Stages()
	r.ClipsPerSecond, r.Waiting = float64(r.Clips)/r.Seconds, l.Waited().Seconds()/r.Seconds
	perWorker := func(d time.Duration) *stage {
		return &stage{d.Seconds(), finite(float64(s.Frames) / max(d.Seconds(), 1e-9))}
	}
	r.Stages = map[string]*stage{"decode": perWorker(s.Decode), "resize": perWorker(s.Resize), "batch": perWorker(s.Batch)}
	r.BatchSeconds = (s.Decode + s.Resize + s.Batch).Seconds() / float64(s.Clips) * float64(r.Shape[0]) / float64(r.Workers)
	return nil
}

// resources are the CPU seconds of this program, and of the processes that it started and
// that have ended; and the largest resident bytes of this program. Linux counts those of a
// child from before its exec, when they are its parent's, so they are not used.
type resources struct {
	own, children float64
	peak          int64
}

func usedSoFar() (u resources) {
	var own, children unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &own) != nil || unix.Getrusage(unix.RUSAGE_CHILDREN, &children) != nil {
		return u
	}
	seconds := func(r unix.Rusage) float64 { return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9 }
	u = resources{seconds(own), seconds(children), int64(own.Maxrss)}
	if runtime.GOOS != "darwin" { // there it is in bytes
		u.peak *= 1024
	}
	return u
}

// used divides what was used by the number of clips read.
func (r *dataResult) used(before, after resources, clips int) {
	r.FFmpegPerClip = (after.children - before.children) / float64(clips)
	r.CPUPerClip = (after.own-before.own)/float64(clips) + r.FFmpegPerClip
	r.PeakBytes = after.peak
}

func (r *dataResult) write(w io.Writer) error {
	s := r.Shape
	text := fmt.Sprintf("%d clips of %d×%d×%d, %d in a batch, %d workers: %.2f clips/s, %.1f frames/s; opened in %.2f s\n",
		r.Clips, s[1], s[2], s[3], s[0], r.Workers, r.ClipsPerSecond, float64(r.Frames)/r.Seconds, r.OpenSeconds)
	text += "stage        s (all workers)   frames/s (one worker)\n"
	for _, name := range []string{"decode", "resize", "batch"} {
		text += fmt.Sprintf("%-8s %19.2f %23.1f\n", name, r.Stages[name].Seconds, r.Stages[name].FramesPerSecond)
	}
	text += fmt.Sprintf("CPU: %.3f s a clip, %.3f s of it in ffmpeg; memory without ffmpeg: %s\n",
		r.CPUPerClip, r.FFmpegPerClip, inBytes(uint64(r.PeakBytes)))
	if r.Skipped > 0 {
		text += fmt.Sprintf("%d clips cannot be read\n", r.Skipped)
	}
	if r.StepSeconds > 0 {
		text += fmt.Sprintf("with steps of %.3g s training waits %.0f %% of the time\n", r.StepSeconds, 100*r.Waiting)
	} else {
		text += fmt.Sprintf("a batch takes %.3g s: training waits for data if its step is shorter (--step measures it)\n", r.BatchSeconds)
	}
	_, err := io.WriteString(w, text)
	return err
}
