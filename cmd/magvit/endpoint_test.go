package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What a scrape sees is what progress.json holds at that moment; null and missing
// numbers are left out, and only this machine is served by default.
func TestMetricsEndpoint(t *testing.T) {
	run := filepath.Join(t.TempDir(), "wide")
	if err := os.Mkdir(run, 0o777); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	stop, err := serveMetrics(":0", run, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`).FindString(log.String())
	if address == "" {
		t.Fatalf("the log lacks an address on this machine: %s", log.String())
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
		text := `{"state": "training", "step": ` + step + `, "loss": 0.25, "terms": {"commitment": 0.5, "recon": null}, "scalars": {"val/ssim": 0.75}, "eta_s": null, "heartbeat": "2026-01-02T03:04:05.5Z"}`
		if err := os.WriteFile(filepath.Join(run, "progress.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		seen := get()
		for _, want := range []string{`magvit_step{run="wide"} ` + step, `magvit_loss{run="wide"} 0.25`, `magvit_loss_term{run="wide",term="commitment"} 0.5`, `magvit_scalar{run="wide",tag="val/ssim"} 0.75`, `magvit_heartbeat_seconds{run="wide"} 1.7673230455e+09`, "# HELP magvit_loss"} {
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

// TestMetricsHaveLimits opens many connections that stay idle: few are held, a scrape that waits for them is answered,
// and long headers are refused.
func TestMetricsHaveLimits(t *testing.T) {
	run := trainedRun(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	stop, err := serveMetrics(addr, run, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	before := descriptors(t)
	for range 100 { // clients that send half a request and wait
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	// Both ends of a connection are in this process: 100 of the clients, and those that are accepted.
	if n := descriptors(t) - before; n > 100+maxConnections+2 {
		t.Errorf("%d descriptors more with 100 idle clients; want %d of them accepted", n, maxConnections)
	}
}

// TestLongHeaders has a header of 64 KiB, which is refused.
func TestLongHeaders(t *testing.T) {
	var log bytes.Buffer
	stop, err := serveMetrics(":0", t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, err := http.NewRequest(http.MethodGet, regexp.MustCompile(`http://[\d.:]+/metrics`).FindString(log.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("y", 64<<10))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %s; want 431", answer.Status)
	}
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be counted: %v", err)
	}
	return len(all)
}
