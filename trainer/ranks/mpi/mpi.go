//go:build mpi

package mpi

/*
#cgo CFLAGS: -Wno-stringop-overflow
#include <mpi.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

// What belongs to MPI stays here: handles and constants are of other types in other libraries.

enum { FAILURE_BYTES = 1024, DATA = 1, REQUESTS = 64 };

static MPI_Comm data_comm, failure_comm;
static MPI_Request failure_request = MPI_REQUEST_NULL;
static char failure_text[FAILURE_BYTES];

static int mpi_open(int *rank, int *size, int *level, char *version) {
#ifdef __linux__
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); // ns: else this thread's sleeps take 50 µs more
#endif
	int n, e = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, level);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	if (e == MPI_SUCCESS) e = MPI_Comm_rank(MPI_COMM_WORLD, rank);
	if (e == MPI_SUCCESS) e = MPI_Comm_size(MPI_COMM_WORLD, size);
	if (e == MPI_SUCCESS) e = MPI_Get_library_version(version, &n);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &data_comm);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &failure_comm);
	if (e == MPI_SUCCESS) e = MPI_Irecv(failure_text, FAILURE_BYTES, MPI_BYTE, MPI_ANY_SOURCE, 0, failure_comm, &failure_request);
	return e;
}

static const char *failure(void) { return failure_text; }

static size_t request_size(void) { return sizeof(MPI_Request); }

static int send_part(void *p, int n, int to, int tag, void *requests, int at) {
	return MPI_Isend(p, n, MPI_BYTE, to, tag, data_comm, (MPI_Request *)requests + at);
}

static int receive_part(void *p, int n, int from, int tag, void *requests, int at) {
	return MPI_Irecv(p, n, MPI_BYTE, from, tag, data_comm, (MPI_Request *)requests + at);
}

static int reduce_all(void *p, int n, void *requests) {
	return MPI_Iallreduce(MPI_IN_PLACE, p, n, MPI_FLOAT, MPI_SUM, data_comm, requests);
}

static void nap(long microseconds) {
	struct timespec t = {0, microseconds * 1000};
	nanosleep(&t, NULL);
}

// poll_some tests n requests until some are done, whose numbers it returns, or for 2 ms.
// failed is set once another rank's failure has come. pause is the next sleep in µs: short while an answer may
// come at once, then longer, so that waiting costs other threads little.
static int poll_some(void *requests, int n, int *count, int *done, int *failed, int *pause) {
	*count = 0;
	for (long waited = 0; waited < 2000; waited += *pause) {
		int e = MPI_Testsome(n, requests, count, done, MPI_STATUSES_IGNORE);
		if (e != MPI_SUCCESS) return e;
		if (*count == MPI_UNDEFINED) *count = 0;
		if (failure_request != MPI_REQUEST_NULL && (e = MPI_Test(&failure_request, failed, MPI_STATUS_IGNORE)) != MPI_SUCCESS) return e;
		if (*count > 0 || *failed) return MPI_SUCCESS;
		nap(*pause);
		*pause = *pause < 100 ? 2 * *pause : 200;
	}
	return MPI_SUCCESS;
}

// fail sends a text to all other ranks, and gives it 1 s to leave.
static void fail(const char *text, int rank, int size) {
	static char sent[FAILURE_BYTES];
	MPI_Request *r = calloc(size, sizeof *r);
	strncpy(sent, text, FAILURE_BYTES - 1);
	for (int i = 0; i < size; i++) {
		r[i] = MPI_REQUEST_NULL;
		if (i != rank) MPI_Isend(sent, FAILURE_BYTES, MPI_BYTE, i, 0, failure_comm, r + i);
	}
	for (int i = 0, all = 0; i < 5000 && !all; i++) {
		if (MPI_Testall(size, r, &all, MPI_STATUSES_IGNORE) != MPI_SUCCESS) break;
		if (!all) nap(200);
	}
}

// meet is a barrier that gives up after a number of milliseconds.
static int meet(int milliseconds) {
	MPI_Request r;
	int all = 0;
	if (MPI_Ibarrier(data_comm, &r) != MPI_SUCCESS) return 0;
	for (int i = 0; i < milliseconds * 5 && !all; i++) {
		if (MPI_Test(&r, &all, MPI_STATUS_IGNORE) != MPI_SUCCESS) return 0;
		if (!all) nap(200);
	}
	return all;
}

enum { FINALIZE_SECONDS = 3, STOPPED_SECONDS = 2 };

#ifdef SIGRTMAX
#define STOP_SIGNAL (SIGRTMAX - 1)
#else
#define STOP_SIGNAL SIGUSR2
#endif

typedef struct {
	pthread_t mpi; // the thread that calls MPI
	int status;
} late_exit;

static void stop_thread(int signal) {
	for (;;) pause();
}

// leave_late ends the process if MPI_Finalize does not return. MPICH 4.0.2 (ch4:ucx) often waits for
// ever in it when its messages go over TCP: a rank waits for a connection to close whose other end
// is already in mpiexec's barrier. mpiexec takes the status of a process that ends there, but fails if
// the barrier is complete afterwards, as when the process's end closes the connection. So the thread
// that calls MPI stops first, on all ranks, and the processes end later.
static void *leave_late(void *arg) {
	late_exit *late = arg;
	sleep(FINALIZE_SECONDS);
	fprintf(stderr, "magvit: MPI_Finalize has not returned within %d s, all ranks have done their work: this process ends without it\n", FINALIZE_SECONDS);
	pthread_kill(late->mpi, STOP_SIGNAL);
	sleep(STOPPED_SECONDS);
	_exit(late->status);
}

// close_mpi ends the library's use in a process that will exit with a status.
static void close_mpi(int status) {
	static late_exit late;
	late = (late_exit){pthread_self(), status};
	struct sigaction action = {.sa_handler = stop_thread, .sa_flags = SA_ONSTACK};
	sigaction(STOP_SIGNAL, &action, NULL);
	pthread_t thread;
	pthread_create(&thread, NULL, leave_late, &late);
	if (failure_request != MPI_REQUEST_NULL) {
		MPI_Cancel(&failure_request);
		MPI_Wait(&failure_request, MPI_STATUS_IGNORE);
	}
	MPI_Finalize();
}

static void leave(int status) {
	close_mpi(status);
	exit(status); // and not Go's: MPICH's mpiexec takes a process that returns for one that failed
}

static void abort_all(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

static void explain(int e, char *text) {
	int n = 0;
	if (MPI_Error_string(e, text, &n) != MPI_SUCCESS) n = 0;
	text[n] = 0;
}

enum { TEXT_BYTES = MPI_MAX_ERROR_STRING > MPI_MAX_LIBRARY_VERSION_STRING ? MPI_MAX_ERROR_STRING + 1 : MPI_MAX_LIBRARY_VERSION_STRING + 1 };
*/
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"magvit/trainer/ranks"
	"magvit/trainer/usage"
)

// Library is the MPI library of the process, once Open has started it.
var Library = "MPI"

// transport is a ranks.Transport whose calls of MPI are made by one thread.
type transport struct {
	rank, size int
	host       string
	commands   chan func()

	mu      sync.Mutex
	failure *ranks.Failure
	failed  chan struct{} // closed with failure set
	started [2]int        // by lane
	active  []*transfer
}

// Open starts MPI and returns its transport, or nil for a process on its own, which has no
// use for MPI. Called once.
func Open() (ranks.Transport, error) {
	want, by := Launched()
	closeOnExec()
	if want == 1 {
		return nil, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	go abortQuietly()
	t := &transport{host: host, commands: make(chan func(), 64), failed: make(chan struct{})}
	opened := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := t.open()
		closeOnExec() // of what MPI has opened
		opened <- err
		t.loop()
	}()
	if err := <-opened; err != nil {
		return nil, err
	}
	if t.size != want {
		closed := make(chan struct{})
		t.commands <- func() {
			C.close_mpi(2) // the status of wrong usage
			close(closed)
		}
		<-closed
		return nil, usage.Errorf("%s started %d processes, but %s sees %d: the launcher is not that library's; use its own, or build with the launcher's mpicc: make mpi MPICC=...", by, want, Library, t.size)
	}
	return t, nil
}

// abortQuietly keeps Go from printing all goroutines where the MPI library calls abort, after a message of its
// own: UCX does so when another rank has died. C's abort ends the process though the signal is caught; one that was
// sent from elsewhere is sent again.
func abortQuietly() {
	aborted := make(chan os.Signal, 1)
	signal.Notify(aborted, syscall.SIGABRT)
	<-aborted
	time.Sleep(time.Second)
	signal.Reset(syscall.SIGABRT)
	syscall.Kill(os.Getpid(), syscall.SIGABRT)
}

func (t *transport) open() error {
	var rank, size, level C.int
	text := make([]byte, C.TEXT_BYTES)
	if e := C.mpi_open(&rank, &size, &level, (*C.char)(unsafe.Pointer(&text[0]))); e != C.MPI_SUCCESS {
		return fmt.Errorf("MPI does not start: %s", explain(e))
	}
	t.rank, t.size = int(rank), int(size)
	version, _, _ := strings.Cut(C.GoString((*C.char)(unsafe.Pointer(&text[0]))), "\n")
	version, _, _ = strings.Cut(strings.ReplaceAll(version, "Version:", ""), ",")
	Library = strings.Join(strings.Fields(version), " ")
	if level < C.MPI_THREAD_FUNNELED {
		return fmt.Errorf("%s allows no threads: want MPI_THREAD_FUNNELED", Library)
	}
	return nil
}

func explain(e C.int) string {
	text := make([]byte, C.TEXT_BYTES)
	C.explain(e, (*C.char)(unsafe.Pointer(&text[0])))
	return C.GoString((*C.char)(unsafe.Pointer(&text[0])))
}

// loop makes all calls of MPI after open: what is asked for, and the progress of transfers.
func (t *transport) loop() {
	for {
		if len(t.active) == 0 {
			(<-t.commands)()
			continue
		}
		select {
		case do := <-t.commands:
			do()
		default:
			t.poll()
		}
	}
}

func (t *transport) Rank() int    { return t.rank }
func (t *transport) Size() int    { return t.size }
func (t *transport) Host() string { return t.host }

// Fail returns once the failure is on its way.
func (t *transport) Fail(f ranks.Failure) {
	f.Reason = f.Reason[:min(len(f.Reason), C.FAILURE_BYTES/2)]
	text, err := json.Marshal(f)
	if err != nil || len(text) >= C.FAILURE_BYTES {
		text = []byte(fmt.Sprintf(`{"Rank":%d,"Host":%q,"Status":%d,"Reason":"failed"}`, f.Rank, f.Host, f.Status))
	}
	done := make(chan struct{})
	t.commands <- func() {
		c := C.CString(string(text))
		C.fail(c, C.int(t.rank), C.int(t.size))
		C.free(unsafe.Pointer(c))
		close(done)
	}
	<-done
}

// Exit ends the process with a status, the same one on all ranks. Ranks that do not come to
// it in time are ended too. It never returns.
func Exit(t ranks.Transport, status int, wait time.Duration) {
	t.(*transport).commands <- func() {
		if C.meet(C.int(wait.Milliseconds())) != 0 {
			C.leave(C.int(status))
		}
		C.abort_all(C.int(status))
	}
	select {}
}

// partBytes is the largest message; MPI counts in int.
const partBytes = 1 << 28

// transfer is a ranks.Transfer.
type transfer struct {
	t        *transport
	pins     runtime.Pinner
	requests unsafe.Pointer // MPI_Request[], in C's memory
	peers    []int          // of the requests
	left     map[int]int    // requests under way, by peer; guarded by transport.mu
	pause    C.int          // before the next test, in µs
	err      error
	done     chan struct{}
}

// firstPause is that after the first test of a transfer, in µs.
const firstPause = 5

// Start begins an exchange, see ranks.Transport.
func (t *transport) Start(l ranks.Lane, send, recv [][]byte) ranks.Transfer {
	x := &transfer{t: t, left: map[int]int{}, pause: firstPause, done: make(chan struct{})}
	begun := make(chan struct{})
	t.commands <- func() {
		x.begin(l, send, recv)
		close(begun)
	}
	<-begun
	return x
}

// AllReduce begins a sum by the library, see ranks.Reducer.
func (t *transport) AllReduce(values []float32) ranks.Transfer {
	x := &transfer{t: t, left: map[int]int{}, pause: firstPause, done: make(chan struct{})}
	begun := make(chan struct{})
	t.commands <- func() {
		defer close(begun)
		x.requests = C.calloc(1, C.request_size())
		p := unsafe.Pointer(unsafe.SliceData(values))
		x.pins.Pin(p)
		if e := C.reduce_all(p, C.int(len(values)), x.requests); e != C.MPI_SUCCESS {
			x.err = fmt.Errorf("a sum of %s: %s", Library, explain(e))
			x.end()
			return
		}
		x.peers = []int{t.rank} // which peers are still missing is the library's secret
		x.left[t.rank] = 1
		t.active = append(t.active, x)
	}
	<-begun
	return x
}

// begin posts the messages of an exchange, those that are received first.
func (x *transfer) begin(l ranks.Lane, send, recv [][]byte) {
	t := x.t
	tag := C.int(C.DATA + 2*(t.started[l]%512) + int(l))
	t.started[l]++
	n := 0
	for _, list := range [][][]byte{recv, send} {
		for _, b := range list {
			n += (len(b) + partBytes - 1) / partBytes
		}
	}
	x.requests = C.calloc(C.size_t(max(n, 1)), C.request_size())
	for i, list := range [][][]byte{recv, send} {
		for peer, b := range list {
			if peer == t.rank {
				continue
			}
			for ; len(b) > 0 && x.err == nil; b = b[min(len(b), partBytes):] {
				p := unsafe.Pointer(unsafe.SliceData(b))
				x.pins.Pin(p)
				at, size := C.int(len(x.peers)), C.int(min(len(b), partBytes))
				var e C.int
				if i == 0 {
					e = C.receive_part(p, size, C.int(peer), tag, x.requests, at)
				} else {
					e = C.send_part(p, size, C.int(peer), tag, x.requests, at)
				}
				if e != C.MPI_SUCCESS {
					x.err = fmt.Errorf("a message of %s: %s", Library, explain(e))
					break
				}
				x.peers = append(x.peers, peer)
				x.left[peer]++
			}
		}
	}
	if len(x.left) == 0 || x.err != nil {
		x.end()
		return
	}
	t.active = append(t.active, x)
}

// end closes a transfer. Memory of messages that are still under way stays pinned.
func (x *transfer) end() {
	if x.err == nil {
		x.pins.Unpin()
		C.free(x.requests)
	}
	close(x.done)
}

// poll looks at the transfers under way.
func (t *transport) poll() {
	x := t.active[0]
	done := make([]C.int, len(x.peers))
	var count, failed C.int
	e := C.poll_some(x.requests, C.int(len(x.peers)), &count, &done[0], &failed, &x.pause)
	t.mu.Lock()
	defer t.mu.Unlock()
	if failed != 0 && t.failure == nil {
		t.failure = &ranks.Failure{Reason: "failed"}
		if err := json.Unmarshal([]byte(C.GoString(C.failure())), t.failure); err != nil {
			t.failure.Reason = err.Error()
		}
		close(t.failed)
	}
	for _, i := range done[:count] {
		peer := x.peers[i]
		if x.left[peer]--; x.left[peer] == 0 {
			delete(x.left, peer)
		}
	}
	if e != C.MPI_SUCCESS {
		x.err = fmt.Errorf("%s: %s", Library, explain(e))
	}
	if x.err != nil || len(x.left) == 0 {
		t.active = t.active[1:]
		x.end()
	} else {
		t.active = append(t.active[1:], x)
	}
}

// Ready reports whether Wait would return at once, see ranks.Transfer.
func (x *transfer) Ready() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// Wait waits for the exchange, see ranks.Transfer.
func (x *transfer) Wait(ctx context.Context) ([]int, error) {
	select {
	case <-x.done:
		return x.missing(), x.err
	default:
	}
	select {
	case <-x.done:
		return x.missing(), x.err
	case <-x.t.failed:
		return x.missing(), x.t.failure
	case <-ctx.Done():
		return x.missing(), context.Cause(ctx)
	}
}

func (x *transfer) missing() []int {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	return slices.Sorted(maps.Keys(x.left))
}
