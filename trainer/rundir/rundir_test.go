package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/trainertest"
)

// opened is a run's directory, and its log.
func opened(t *testing.T, path string) (*Dir, config.Config, *bytes.Buffer) {
	t.Helper()
	cfg, err := config.Preset("tiny")
	trainertest.Check(t, err)
	log := &bytes.Buffer{}
	d, _, err := Open(path, slog.New(slog.NewTextHandler(log, nil)))
	trainertest.Check(t, err)
	t.Cleanup(func() { d.Close() })
	return d, cfg, log
}

func TestRecordsOfLaterStepsAreRemoved(t *testing.T) {
	text := `{"step":0,"val":{"psnr":3}}` + "\n" + `{"step":1,"loss":2}` + "\n" + `{"step":2,"val":{"psnr":5}}` + "\n"
	upTo1 := text[:strings.Index(text, `{"step":2`)]
	for _, c := range []struct {
		text    string
		step    int
		kept    string
		damaged int
		evals   string
	}{
		{text, 9, text, 0, "[3 5]"},
		{text + `{"step":3,"lo`, 9, text, 0, "[3 5]"}, // a killed writer's
		{text, 1, upTo1, 0, "[3]"},
		{text, -1, "", 0, "[]"},
		{"garbage\n" + text, 9, text, 1, "[3 5]"},
		{text + "garbage\n" + text, 9, text + text, 1, "[3 5 3 5]"},
		{upTo1 + "\n" + text, 9, upTo1 + text, 0, "[3 3 5]"}, // a blank line
		{`{"step":90000,"loss":1}` + "\n" + text, 9, text, 1, "[3 5]"},
		{text + `{"stdp":3}` + "\n", 9, text, 1, "[3 5]"},
	} {
		r := recordsUntil([]byte(c.text), c.step)
		psnr := []metrics.Number{}
		for _, e := range r.evals {
			psnr = append(psnr, e.Val.PSNR)
		}
		if string(r.kept) != c.kept || r.count != c.damaged || fmt.Sprint(psnr) != c.evals {
			t.Errorf("%q up to %d:\nkept %q\nwant %q\n%d damaged, evaluations %v; want %d and %s", c.text, c.step, r.kept, c.kept, r.count, psnr, c.damaged, c.evals)
		}
	}
	d, cfg, _ := opened(t, filepath.Join(t.TempDir(), "run"))
	trainertest.Check(t, os.WriteFile(d.File(MetricsFile), []byte(text), 0o666))
	_, err := d.Begin(cfg, 1, time.Unix(1, 0))
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(d.record(map[string]int{"step": 2}), d.Close()))
	if got, err := os.ReadFile(d.File(MetricsFile)); err != nil || string(got) != upTo1+`{"step":2}`+"\n" {
		t.Errorf("records %q, %v", got, err)
	}
}

// A record that could not be written when it was made is written with the next checkpoint.
func TestRecordsAreWrittenAfterAnError(t *testing.T) {
	d, cfg, _ := opened(t, filepath.Join(t.TempDir(), "run"))
	_, err := d.Begin(cfg, -1, time.Unix(1, 0))
	trainertest.Check(t, err)
	disk := d.lines
	d.lines, err = os.Open(d.File(MetricsFile)) // cannot be written to
	trainertest.Check(t, err)
	if err := d.record(map[string]int{"step": 1}); err == nil {
		t.Error("a record that was not written is no error")
	}
	before := d.Records()
	d.lines.Close()
	d.lines = disk
	trainertest.Check(t, d.Flush())
	got, err := os.ReadFile(d.File(MetricsFile))
	if want := `{"step":1}` + "\n"; err != nil || string(got) != want || before.Bytes != 0 || d.Records().Bytes != int64(len(want)) {
		t.Errorf("records %q, %v; %d bytes are counted, %d before", got, err, d.Records().Bytes, before.Bytes)
	}
}

// Whatever bit of metrics.jsonl flips costs at most the line that it is in, and the line is kept apart.
func TestDamagedRecordCostsItsLine(t *testing.T) {
	var lines []string
	for step := range 23 {
		lines = append(lines, fmt.Sprintf(`{"step":%d,"loss":%g,"lr":0.001}`+"\n", step, 1/float64(step+1)))
	}
	text := []byte(strings.Join(lines, ""))
	for at := range text {
		bad := bytes.Clone(text)
		bad[at] ^= 1 << (at % 8)
		r := recordsUntil(bad, 22)
		n := bytes.Count(r.kept, []byte("\n"))
		least := 22
		if text[at] == '\n' {
			least = 21 // two lines became one
		}
		if n < least {
			t.Fatalf("bit %d of byte %d: %d of 23 records left", at%8, at, n)
		}
		if n < 21 && r.count == 0 {
			t.Errorf("byte %d: lost without a word", at)
		}
	}
	path := filepath.Join(t.TempDir(), "run")
	d, cfg, log := opened(t, path)
	text[0] ^= 4
	trainertest.Check(t, os.WriteFile(d.File(MetricsFile), text, 0o666))
	_, err := d.Begin(cfg, 22, time.Unix(1, 0))
	trainertest.Check(t, err)
	trainertest.Check(t, d.record(map[string]int{"step": 23}))
	got, err := os.ReadFile(d.File(MetricsFile))
	trainertest.Check(t, err)
	if want := strings.Join(lines[1:], "") + `{"step":23}` + "\n"; string(got) != want {
		t.Errorf("records\n%swant\n%s", got, want)
	}
	if kept, err := os.ReadFile(d.File(DamagedFile)); err != nil || len(kept) != len(lines[0]) {
		t.Errorf("%s: %q, %v", DamagedFile, kept, err)
	}
	if !strings.Contains(log.String(), "1 damaged lines were moved") {
		t.Errorf("the log has no word on it:\n%s", log)
	}
}

// Records that a checkpoint's step had and that are gone, as after a power cut, are told of.
func TestLostRecordsAreTold(t *testing.T) {
	for tail, want := range map[string]bool{`{"step":2,"loss":1}` + "\n": false, "\x00\x00\x00": true, "": true} {
		d, cfg, log := opened(t, filepath.Join(t.TempDir(), "run"))
		cfg.Train.LogEvery = 1
		trainertest.Check(t, errors.Join(os.WriteFile(d.File(ProgressFile), []byte("{}"), 0o666),
			os.WriteFile(d.File(MetricsFile), []byte(`{"step":1,"loss":2}`+"\n"+tail), 0o666)))
		_, err := d.Begin(cfg, 2, time.Unix(1, 0))
		trainertest.Check(t, err)
		if told := strings.Contains(log.String(), "between step 1 and step 2 are lost"); told != want {
			t.Errorf("%q: told %v, want %v: %s", tail, told, want, log)
		}
	}
}

// A lock file that its owner removes after another process opened it locks nothing.
func TestLockIsTheNamedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	first, _, _ := opened(t, path)
	if _, _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("two trainers in one directory")
	}
	trainertest.Check(t, os.Remove(first.File(lockFile)))
	second, _, _ := opened(t, path) // of a new file
	trainertest.Check(t, first.Close())
	if _, _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("the new file locks nothing")
	}
	trainertest.Check(t, second.Close())
}

// Events, pictures and progress that cannot be written are told of once and cost nothing else.
func TestOrnamentsDoNotEndARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, cfg, log := opened(t, path)
	_, err := d.Begin(cfg, -1, time.Unix(1, 0))
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(os.Mkdir(d.File(ProgressFile), 0o777), os.WriteFile(filepath.Join(d.File(ProgressFile), "x"), nil, 0o666),
		os.WriteFile(d.File("samples"), nil, 0o666)))
	d.WriteProgress(Progress{Heartbeat: time.Unix(9, 0)}, true)
	d.Picture(1, "a", []byte("no PNG"), nil)
	d.Picture(1, "a", dot, dot)
	trainertest.Check(t, errors.Join(d.Step(metrics.StepRecord{Step: 1, Loss: 2}, time.Unix(2, 0)), d.Flush()))
	if n := strings.Count(log.String(), "the training continues"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, log)
	}
	var r metrics.StepRecord
	text, err := os.ReadFile(d.File(MetricsFile))
	if err != nil || json.Unmarshal(text, &r) != nil || r.Loss != 2 {
		t.Errorf("records %q, %v", text, err)
	}
}

// Records are written again after the file was removed under the run's hands.
func TestRecordsFileRemoved(t *testing.T) {
	d, cfg, log := opened(t, filepath.Join(t.TempDir(), "run"))
	_, err := d.Begin(cfg, -1, time.Unix(1, 0))
	trainertest.Check(t, err)
	trainertest.Check(t, errors.Join(d.record(map[string]int{"step": 1}), os.Remove(d.File(MetricsFile)), d.Flush(), d.record(map[string]int{"step": 2})))
	if text, err := os.ReadFile(d.File(MetricsFile)); string(text) != `{"step":2}`+"\n" || !strings.Contains(log.String(), "removed or replaced") {
		t.Errorf("records %q, %v; log %s", text, err, log)
	}
}

// Temporary files of killed writers go; those of others stay.
func TestSweep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d, cfg, _ := opened(t, path)
	trainertest.Check(t, os.Mkdir(d.File("samples"), 0o777))
	for _, name := range []string{".tmp-1-progress.json", ".tmp-2-config.yaml", ".tmp-mine", "samples/.tmp-3-step-000010.png"} {
		trainertest.Check(t, os.WriteFile(d.File(name), nil, 0o666))
	}
	_, err := d.Begin(cfg, -1, time.Unix(1, 0))
	trainertest.Check(t, err)
	left, _ := filepath.Glob(filepath.Join(path, ".tmp-*"))
	more, _ := filepath.Glob(filepath.Join(path, "samples", ".tmp-*"))
	if len(left) != 1 || filepath.Base(left[0]) != ".tmp-mine" || len(more) != 0 {
		t.Errorf("left %v %v", left, more)
	}
}

// dot is a PNG of one pixel.
var dot = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82")
