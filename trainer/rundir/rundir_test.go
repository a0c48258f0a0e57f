package rundir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
)

func TestRecordsBeyondACheckpointAreCut(t *testing.T) {
	text := `{"step":0,"val":{"psnr":3}}` + "\n" + `{"step":1,"loss":2}` + "\n" + `{"step":2,"val":{"psnr":5}}` + "\n"
	for _, c := range []struct {
		tail  string
		step  int
		end   int
		evals []metrics.Number
	}{
		{"", 9, len(text), []metrics.Number{3, 5}},
		{`{"step":3,"lo`, 9, len(text), []metrics.Number{3, 5}},
		{"garbage\n" + text, 9, len(text), []metrics.Number{3, 5}},
		{"", 1, strings.LastIndex(text, `{"step":2`), []metrics.Number{3}},
	} {
		end, evals, err := recordsUntil(strings.NewReader(text+c.tail), c.step)
		var psnr []metrics.Number
		for _, e := range evals {
			psnr = append(psnr, e.Val.PSNR)
		}
		if err != nil || int(end) != c.end || !slices.Equal(psnr, c.evals) {
			t.Errorf("%q up to %d: end %d, evaluations %v, %v", c.tail, c.step, end, psnr, err)
		}
	}
	cfg, err := config.Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := Open(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.File(MetricsFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Begin(cfg, 1, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.record(map[string]int{"step": 2}), d.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(d.File(MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := text[:strings.LastIndex(text, `{"step":2`)] + `{"step":2}` + "\n"; string(got) != want {
		t.Errorf("records\n%swant those up to step 1 and another one of step 2:\n%s", got, want)
	}
}
