package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// gauges are the numbers of progress.json that are exported, by their keys there.
var gauges = []struct{ key, name, help string }{
	{"step", "magvit_step", "Optimizer steps done."},
	{"share", "magvit_run_share", "Fraction of the run that is done, in [0,1]."},
	{"loss", "magvit_loss", "Loss of the last logged step."},
	{"recon", "magvit_reconstruction_loss", "The reconstruction term of the loss."},
	{"psnr", "magvit_psnr_db", "PSNR of the last evaluation on held-out clips, dB."},
	{"best_psnr", "magvit_best_psnr_db", "The highest PSNR of an evaluation so far, dB."},
	{"clips_per_s", "magvit_clips_per_second", "Clips that go through training, over the last logged steps."},
	{"seconds", "magvit_seconds", "Seconds since the run began, without interruptions."},
	{"eta_s", "magvit_eta_seconds", "Seconds until the end of the run."},
	{"skipped", "magvit_skipped_steps", "Steps that met NaN or Inf and were not applied."},
	{"unread_clips", "magvit_unread_clips", "Clips left out because they cannot be read."},
}

// runCollector exports a run to Prometheus. Each scrape reads its progress.json, so that
// the trainer does not depend on it.
type runCollector struct {
	path      string
	descs     []*prometheus.Desc // of gauges
	terms     *prometheus.Desc
	scalars   *prometheus.Desc
	heartbeat *prometheus.Desc
}

func newRunCollector(run string) *runCollector {
	labels := prometheus.Labels{"run": filepath.Base(run)}
	w := &runCollector{path: filepath.Join(run, "progress.json"),
		terms:     prometheus.NewDesc("magvit_loss_term", "Unweighted part of the loss, at the last logged step.", []string{"term"}, labels),
		scalars:   prometheus.NewDesc("magvit_scalar", "Last value of a scalar of TensorBoard, by its tag.", []string{"tag"}, labels),
		heartbeat: prometheus.NewDesc("magvit_heartbeat_seconds", "Unix time of the last write of progress.json.", nil, labels)}
	for _, g := range gauges {
		w.descs = append(w.descs, prometheus.NewDesc(g.name, g.help, nil, labels))
	}
	return w
}

// Describe is prometheus.Collector's.
func (w *runCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range append(w.descs, w.terms, w.scalars, w.heartbeat) {
		to <- d
	}
}

// Collect is prometheus.Collector's. Numbers that are not known are left out.
func (w *runCollector) Collect(to chan<- prometheus.Metric) {
	text, err := os.ReadFile(w.path)
	var values map[string]any
	if err = errors.Join(err, json.Unmarshal(text, &values)); err != nil {
		return // before the first step
	}
	for i, g := range gauges {
		if v, ok := values[g.key].(float64); ok {
			to <- prometheus.MustNewConstMetric(w.descs[i], prometheus.GaugeValue, v)
		}
	}
	for key, desc := range map[string]*prometheus.Desc{"terms": w.terms, "scalars": w.scalars} {
		list, _ := values[key].(map[string]any)
		for name, v := range list {
			if v, ok := v.(float64); ok {
				to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, name)
			}
		}
	}
	if text, ok := values["heartbeat"].(string); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			to <- prometheus.MustNewConstMetric(w.heartbeat, prometheus.GaugeValue, float64(at.UnixNano())/1e9)
		}
	}
}

// serveMetrics answers Prometheus at an address until stop is called. An address
// without a host means this machine only.
func serveMetrics(addr, run string, log *slog.Logger) (stop func(), err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usagef("--metrics-addr %q: want HOST:PORT, or :PORT for this machine only", addr)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, usagef("--metrics-addr %s: %w", addr, err)
	}
	reg := prometheus.NewRegistry()
	if err := reg.Register(newRunCollector(run)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		IdleTimeout: idleLimit, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go func() { _ = srv.Serve(&limitedListener{Listener: l, slots: make(chan struct{}, maxConnections)}) }() // ends when stop closes it
	log.Info("metrics for Prometheus", "address", "http://"+l.Addr().String()+"/metrics")
	return func() { _ = srv.Close() }, nil
}

// Limits of the endpoint, so that no client can use up the file descriptors of a training.
const (
	maxConnections = 16
	idleLimit      = 15 * time.Second
)

// limitedListener has at most as many connections open as it has slots; further clients wait in the kernel's queue.
type limitedListener struct {
	net.Listener
	slots chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
