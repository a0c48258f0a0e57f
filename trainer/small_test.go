package trainer

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/trainertest"
)

// small is the options of such a run; its log goes to the returned buffer.
func small(t *testing.T, sets ...string) (Options, *bytes.Buffer) {
	t.Helper()
	cfg, err := config.Parse("mini", []byte(trainertest.Mini))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		if err := cfg.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	be := kernels.NewCPU(0)
	t.Cleanup(func() { be.Close() })
	log := &bytes.Buffer{}
	return Options{Config: cfg, Source: trainertest.Squares{Clips: 16, Frames: 4, Side: 16}, Out: filepath.Join(t.TempDir(), "run"), Backend: be, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// contextWithStop is cancelled after a step of the run.
func contextWithStop(t *testing.T, o *Options, at int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	o.OnStep = func(step int) {
		if step == at {
			cancel()
		}
	}
	return ctx, cancel
}
