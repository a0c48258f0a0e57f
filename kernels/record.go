package kernels

// Recorder is a Backend that can keep the kernels which run enqueues, and enqueue them
// again in one go. run must do nothing else with the backend, and may be called again.
type Recorder interface {
	Record(run func()) (replay func() error, err error)
}

// Record returns what enqueues the kernels that run enqueues: on a Recorder in one go,
// elsewhere one after another. Recorder says what run must be.
func Record(be Backend, run func()) (replay func() error, err error) {
	if r, ok := be.(Recorder); ok {
		return r.Record(run)
	}
	return func() error { run(); return nil }, nil
}
