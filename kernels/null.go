package kernels

// NullBackend is a backend without memory that computes nothing. A plan compiled on it
// shows the cost of a graph of any size. A type that embeds it can add device properties.
type NullBackend struct {
	Bytes int64 // allocated so far
}

// nullBuffer is a buffer, or a kernel, of the null backend.
type nullBuffer int

func (n nullBuffer) Len() int                  { return int(n) }
func (n nullBuffer) Slice(from, to int) Buffer { return nullBuffer(to - from) }
func (nullBuffer) Run(...Buffer)               {}

func (s *NullBackend) Name() string { return "null" }

func (s *NullBackend) Alloc(n int) (Buffer, error) {
	s.Bytes += 4 * int64(n)
	return nullBuffer(n), nil
}

func (s *NullBackend) Prepare(spec Spec) (Kernel, error) { return nullBuffer(0), spec.Validate() }

func (s *NullBackend) Write(Buffer, []float32) error { return nil }

// Read gives zeros.
func (s *NullBackend) Read(dst []float32, _ Buffer) error {
	clear(dst)
	return nil
}

func (s *NullBackend) Sync() error  { return nil }
func (s *NullBackend) Close() error { return nil }
