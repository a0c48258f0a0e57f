package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// verdicts are the sentences at the top of a run's report, by what they are about.
func verdicts(t *testing.T, run string) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(run, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`<li class="(\w+)"><strong>([\w ]+): [\w ]+\.</strong> ([^<]*)</li>`).FindAllStringSubmatch(string(page), -1) {
		all[m[2]] = m[1] + ": " + m[3]
	}
	return all
}

// TestVerdictOfAnUntrainedRun trains for three steps at a learning rate of almost 0: nothing about it is good.
func TestVerdictOfAnUntrainedRun(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	magvit(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--steps", "3", "--set", "train.lr=1e-9", "--set", "train.eval_every=1", "--set", "train.samples=0")
	for about, text := range verdicts(t, run) {
		if strings.HasPrefix(text, "good") {
			t.Errorf("an untrained run, %s: %s", about, text)
		}
	}
	if v := verdicts(t, run); !strings.HasPrefix(v["Codes"], "poor: ") || !strings.HasPrefix(v["Reconstruction"], "poor: ") {
		t.Errorf("an untrained run: %v", v)
	}
}

// TestVerdictOfCollapsedCodes reads the report of a run that was trained into collapse.
func TestVerdictOfCollapsedCodes(t *testing.T) {
	if v := verdicts(t, collapsedRun(t))["Codes"]; !strings.HasPrefix(v, "poor: The codebook has collapsed") {
		t.Errorf("collapsed codes: %s", v)
	}
}

var makeCollapsed sync.Once

// collapsedRun is a run of a tokenizer that was trained into collapse, made once: LFQ without its entropy terms,
// held to its own codes, without a norm before it.
func collapsedRun(t *testing.T) string {
	t.Helper()
	run := filepath.Join(shared, "collapsed")
	makeCollapsed.Do(func() {
		magvit(t, "train", "--preset", "tiny", "--data", clips(t), "--out", run, "--steps", "40", "--set", "train.eval_every=20", "--set", "train.save_every=40", "--set", "train.samples=0",
			"--set", "model.latent_norm=none",
			"--set", "model.quantizer={kind: lfq, levels: [], codebook_size: 1024, entropy_weight: 0, commitment_weight: 100}")
	})
	return run
}
