package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a scrape sees is what progress.json holds at that moment; null and missing
// numbers are left out, and only this machine is served by default.
func TestMetricsEndpoint(t *testing.T) {
	run := filepath.Join(t.TempDir(), "wide")
	if err := os.Mkdir(run, 0o777); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	stop, err := serveMetrics(":0", run, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(said.String())
	if address == "" {
		t.Fatalf("the log does not tell an address on this machine: %s", said.String())
	}
	get := func() string {
		t.Helper()
		r, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("status %s, %v: %s", r.Status, err, b)
		}
		return string(b)
	}
	if text := get(); strings.Contains(text, "magvit_") {
		t.Errorf("numbers of a run that has not begun: %s", text)
	}
	for _, step := range []string{"12", "13"} {
		text := `{"state": "training", "step": ` + step + `, "loss": 0.25, "terms": {"commitment": 0.5, "recon": null}, "eta_s": null, "heartbeat": "2026-01-02T03:04:05.5Z"}`
		if err := os.WriteFile(filepath.Join(run, "progress.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		seen := get()
		for _, want := range []string{`magvit_step{run="wide"} ` + step, `magvit_loss{run="wide"} 0.25`, `magvit_loss_term{run="wide",term="commitment"} 0.5`, `magvit_heartbeat_seconds{run="wide"} 1.7673230455e+09`, "# HELP magvit_loss"} {
			if !strings.Contains(seen, want) {
				t.Errorf("no %q in\n%s", want, seen)
			}
		}
		if strings.Contains(seen, "eta") || strings.Contains(seen, "recon") || strings.Contains(seen, "psnr") {
			t.Errorf("numbers that are not known:\n%s", seen)
		}
	}
	for _, bad := range []string{"9100", "nowhere:port", "127.0.0.1:99999999"} {
		if _, err := serveMetrics(bad, run, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "--metrics-addr") {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}
