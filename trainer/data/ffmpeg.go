package data

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// decoder is a running ffmpeg that writes the frames of one film as PAM pictures to
// a pipe.
//
// Why PAM: it is raw rgb24 or rgba with the size in front of each frame, so rotated,
// anamorphic and transparent films need no second process. Why a process: the
// decoders of a damaged film crash or hang apart from a training, and any ffmpeg
// from 4.2 on will do.
type decoder struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	out    *bufio.Reader
	log    tail
	raw    []byte
	pool   *sync.Pool    // of raw, or nil
	quiet  time.Duration // largest time without a frame
	timer  *time.Timer
	stuck  atomic.Bool
	once   sync.Once
	err    error // of the process
}

// stallTimeout is the largest time without a frame after which ffmpeg is ended. Of a machine with 15
// times as many programs as cores, 30 s ended one that was not stuck.
const stallTimeout = 60 * time.Second

// ffmpeg is the program that decodes films.
type ffmpeg struct {
	path  string
	stall time.Duration
	raw   sync.Pool       // of *[]byte: memory for frames as ffmpeg writes them
	text  func() string   // first line of its version
	args  func() []string // options of its output that depend on the version
	// reading are options of its input: newer versions would cut frames to the clean aperture that
	// a film declares, which older ones, PyAV and torchcodec do not.
	reading func() []string
}

// installFFmpeg is how a complete and recent ffmpeg is had.
const installFFmpeg = "apt-get install ffmpeg, brew install ffmpeg, or a build that ffmpeg.org/download.html names"

// errFFmpeg is an error of the program, which concerns every film.
var errFFmpeg = errors.New("ffmpeg cannot be used")

// ofClip is an error of a clip, unless it is one of every film.
func ofClip(name string, err error) error {
	if errors.Is(err, errFFmpeg) {
		return err
	}
	return &ClipError{name, err}
}

// usable refuses a version whose options are others.
func (f *ffmpeg) usable() error {
	if major, minor, ok := ffmpegVersion(f.text()); ok && (major < 4 || major == 4 && minor < 2) {
		return badf("%w: %s is version %d.%d; wanted: 4.2 or newer (%s)", errFFmpeg, f.path, major, minor, installFFmpeg)
	}
	return nil
}

// findFFmpeg looks for ffmpeg on the PATH; what needs it is named in the error.
func findFFmpeg(what string) (*ffmpeg, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, badf("%s: reading video files needs ffmpeg, which is not on the PATH: install it (%s), or convert the clips to .npz, .gif or folders of frames", what, installFFmpeg)
	}
	f := &ffmpeg{path: path, stall: stallTimeout}
	f.text = sync.OnceValue(func() string {
		ctx, cancel := context.WithTimeout(context.Background(), f.stall)
		defer cancel()
		out, _ := exec.CommandContext(ctx, path, "-version").Output()
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	})
	f.reading = sync.OnceValue(func() []string {
		if major, _, ok := ffmpegVersion(f.text()); ok && major < 7 {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), f.stall)
		defer cancel()
		if out, _ := exec.CommandContext(ctx, path, "-hide_banner", "-h", "long").Output(); bytes.Contains(out, []byte("-apply_cropping[")) {
			return []string{"-apply_cropping", "codec"}
		}
		return nil
	})
	f.args = sync.OnceValue(func() []string {
		if major, minor, ok := ffmpegVersion(f.text()); ok && (major < 5 || major == 5 && minor < 1) {
			return []string{"-vsync", "passthrough"}
		}
		return []string{"-fps_mode", "passthrough"}
	})
	return f, nil
}

// ffmpegVersion parses the first line of ffmpeg -version. ok is false for builds
// without a release number, which are recent.
func ffmpegVersion(text string) (major, minor int, ok bool) {
	v, found := strings.CutPrefix(text, "ffmpeg version ")
	if !found {
		return 0, 0, false
	}
	n, _ := fmt.Sscanf(strings.TrimPrefix(v, "n"), "%d.%d", &major, &minor)
	return major, minor, n >= 1 && major < 100 // "N-12345-g0a1b2c" and dates are no releases
}

// shownFrames is the filter that makes pixels square and chooses a format with alpha
// where the film has it. Rotation is applied before it by ffmpeg.
const shownFrames = "scale=w='if(gt(sar,1),trunc(iw*sar+.5),iw)':h='if(gt(sar,0)*lt(sar,1),trunc(ih/sar+.5),ih)',format=rgb24|rgba"

// seek is where decoding starts.
type seek struct {
	from float64 // seconds after the film's first time stamp; frames before it are dropped
	lead float64 // ffmpeg seeks to this many seconds before from
	skip int     // frames to drop instead, of a film without time stamps
	to   float64 // seconds after the film's first time stamp at which it ends; 0: with its last frame
}

// film is what ffmpeg reads.
type film struct {
	input string    // as ffmpeg names it
	bytes io.Reader // of input pipe:0
	kind  string    // ffmpeg's name of the container; "": it finds out
	codec string    // the decoder; "": ffmpeg's choice
}

// open starts decoding a film. step is the distance of the frames to write, count their
// number, 0: all.
func (f *ffmpeg) open(ctx context.Context, of film, at seek, step, count int) (*decoder, error) {
	if err := f.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	// The whitelist keeps a playlist in disguise from opening addresses.
	args := []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-xerror", "-threads", "1", "-protocol_whitelist", "file,pipe,subfile"}
	filter := shownFrames
	if step > 1 {
		filter = fmt.Sprintf("select='not(mod(n\\,%d))',", step) + filter
	}
	dropped := 0. // seconds of the film that are decoded and not written
	switch {
	case at.skip > 0:
		filter = fmt.Sprintf("trim=start_frame=%d,", at.skip) + filter
		dropped = float64(at.skip) / 25
	case at.from > 0:
		start := max(at.from-at.lead, 0)
		if start > 0 {
			args = append(args, "-ss", strconv.FormatFloat(start, 'f', 6, 64))
		}
		if dropped = at.from - start; dropped > 0 {
			filter = fmt.Sprintf("trim=start=%.6f,", dropped) + filter
		}
	}
	if at.to > 0 {
		filter = fmt.Sprintf("trim=end=%.6f,", at.to-max(at.from-at.lead, 0)) + filter
	}
	args = append(args, f.reading()...)
	if of.codec != "" {
		args = append(args, "-c:v", of.codec)
	}
	if of.kind != "" {
		// Such a film describes itself: ffmpeg need not decode its first frames to learn how many the decoder holds
		// back. "strict" makes that as many as the standard says, where ffmpeg would guess.
		args = append(args, "-probesize", "32", "-strict", "1", "-f", of.kind)
	}
	args = append(args, "-i", of.input, "-map", "0:V:0", "-an", "-sn", "-dn", "-vf", filter)
	args = append(args, f.args()...)
	if count > 0 {
		args = append(args, "-frames:v", strconv.Itoa(count))
	}
	args = append(args, "-f", "image2pipe", "-c:v", "pam", "pipe:1")
	d := &decoder{cancel: cancel, quiet: f.stall + time.Duration(min(dropped, 1e6)*float64(time.Second)), pool: &f.raw}
	if b, ok := f.raw.Get().(*[]byte); ok {
		d.raw = *b
	}
	if err := d.start(ctx, f.path, args, of.bytes); err != nil {
		cancel()
		return nil, err
	}
	return d, nil
}

func (d *decoder) start(ctx context.Context, path string, args []string, in io.Reader) error {
	d.cmd = exec.CommandContext(ctx, path, args...)
	d.cmd.Stdin, d.cmd.Stderr = in, &d.log
	d.cmd.WaitDelay = time.Second // children of a stand-in may hold the pipes open
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("starting ffmpeg: %w", err)
	}
	widen(out)
	d.out = bufio.NewReaderSize(out, 1<<16)
	d.timer = time.AfterFunc(d.quiet, func() { d.stuck.Store(true); d.cancel() })
	return nil
}

// close ends the process and returns its error. The last picture is no longer valid.
func (d *decoder) close() error {
	d.once.Do(func() {
		d.cancel()
		d.timer.Stop()
		d.err = d.cmd.Wait()
	})
	if d.pool != nil && d.raw != nil {
		raw := d.raw
		d.pool.Put(&raw)
		d.pool = nil
	}
	return d.err
}

// picture is one decoded frame: rgb [h,w,3], valid until the next one.
type picture struct {
	h, w int
	rgb  []byte
}

// next returns the next frame, io.EOF after the last one of a film that was decoded
// without an error.
func (d *decoder) next() (picture, error) {
	d.timer.Reset(d.quiet)
	p, err := d.read()
	d.timer.Stop()
	if err == nil {
		return p, nil
	}
	if errors.Is(err, io.EOF) { // the process has closed its output: let it end by itself
		d.timer.Reset(d.quiet)
		d.once.Do(func() { d.err = d.cmd.Wait(); d.timer.Stop(); d.cancel() })
	}
	e := d.close()
	switch {
	case d.stuck.Load():
		return p, fmt.Errorf("ffmpeg gave no frame for %v and was ended: %s", d.quiet, d.log.text())
	case errors.Is(err, io.EOF) && e != nil:
		return p, fmt.Errorf("ffmpeg: %w: %s", e, d.log.text())
	}
	return p, err
}

// Largest sides and bytes of a frame of a film.
const (
	maxFilmSide = 1 << 15
	maxFrame    = 1 << 28
)

// read parses one PAM picture. Its header is a few short lines; anything else is
// refused without reading on.
func (d *decoder) read() (p picture, err error) {
	if _, err := d.out.Peek(1); err != nil {
		return p, err
	}
	depth := 0
	for i := 0; ; i++ {
		line, err := d.out.ReadSlice('\n')
		if err != nil || len(line) > 64 || i > 8 {
			return p, fmt.Errorf("not a picture: %.40q", line)
		}
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		n, _ := strconv.Atoi(string(value))
		switch string(key) {
		case "WIDTH":
			p.w = n
		case "HEIGHT":
			p.h = n
		case "DEPTH":
			depth = n
		}
		if string(key) == "ENDHDR" {
			break
		}
	}
	if p.h < 1 || p.w < 1 || p.h > maxFilmSide || p.w > maxFilmSide || depth != 3 && depth != 4 || p.h*p.w > maxFrame/4 {
		return p, fmt.Errorf("a frame of %dx%d pixels and %d channels; legal: up to %d bytes", p.w, p.h, depth, maxFrame)
	}
	d.raw = grown(d.raw, p.h*p.w*depth)
	if _, err := io.ReadFull(d.out, d.raw); err != nil {
		return p, fmt.Errorf("a frame is cut off: %w", io.ErrUnexpectedEOF)
	}
	p.rgb = d.raw
	if depth == 4 {
		p.rgb = overWhite(d.raw)
	}
	return p, nil
}

// overWhite blends straight alpha over white in place: rgba [n,4] to rgb [n,3].
func overWhite(rgba []byte) []byte {
	n := len(rgba) / 4
	for i := range n {
		a := int(rgba[4*i+3])
		for k := range 3 {
			rgba[3*i+k] = byte((int(rgba[4*i+k])*a + 255*(255-a) + 127) / 255)
		}
	}
	return rgba[:3*n]
}

// timeline is when the frames of a film are shown, in seconds after its first time
// stamp.
type timeline struct {
	N       int       `json:"frames"`
	Width   int       `json:"width"` // as stored, before rotation
	Height  int       `json:"height"`
	Codec   string    `json:"codec,omitempty"`
	Keys    int       `json:"keys"`              // key frames
	KeyAt   []int     `json:"key_at,omitempty"`  // their numbers, where not every frame is one
	Untimed bool      `json:"untimed,omitempty"` // without time stamps: it cannot be sought in
	First   float64   `json:"first"`             // time of frame 0
	Period  float64   `json:"period"`            // distance of frames, if it is constant
	Times   []float64 `json:"times,omitempty"`
}

// at is the time of frame k.
func (t *timeline) at(k int) float64 {
	if t.Times != nil {
		return t.Times[k]
	}
	return t.First + float64(k)*t.Period
}

// scan reads the packets of a film without decoding them.
//
// Why packets: they hold each frame's time stamp, and a film of two hours is scanned
// in seconds. Frames that a decoder drops, such as leading frames of a film that was
// cut at an open group, are counted too.
func (f *ffmpeg) scan(ctx context.Context, input string) (*timeline, error) {
	if err := f.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &decoder{cancel: cancel, quiet: f.stall}
	if err := d.start(ctx, f.path, []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe,subfile",
		"-fflags", "+genpts", "-i", input, "-map", "0:V:0", "-c", "copy", "-copyinkf", "-f", "framecrc", "pipe:1"}, nil); err != nil {
		return nil, err
	}
	defer d.close()
	t := &timeline{}
	base := 0.
	var stamps, keys []int64
	missing, length := 0, int64(1)
	lines, packets := 0, 0
	for {
		d.timer.Reset(d.quiet)
		line, err := d.out.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.close()
			return nil, fmt.Errorf("ffmpeg gave no list of packets: %w: %s", err, d.log.text())
		}
		p, ok := parsePacket(string(line))
		if !ok {
			if lines++; lines > maxHeadLines {
				d.close()
				return nil, fmt.Errorf("ffmpeg gave no list of packets: %.40q", line)
			}
			t.head(string(line), &base)
			continue
		}
		if packets++; packets > maxFilmFrames {
			d.close()
			return nil, fmt.Errorf("more than %d frames", maxFilmFrames)
		}
		if p.discarded {
			continue
		}
		pts, key := p.pts, p.key
		length = max(p.duration, 1)
		if pts == math.MinInt64 { // no time stamp
			missing++
			pts = p.dts
			if len(stamps) > 0 {
				pts = slices.Max(stamps[max(len(stamps)-16, 0):]) + length
			}
		}
		if key {
			keys = append(keys, pts)
		}
		stamps = append(stamps, pts)
	}
	d.timer.Reset(d.quiet)
	d.once.Do(func() { d.err = d.cmd.Wait(); d.timer.Stop() })
	switch {
	case d.stuck.Load():
		return nil, fmt.Errorf("ffmpeg gave no packet for %v and was ended", d.quiet)
	case d.err != nil:
		return nil, fmt.Errorf("ffmpeg: %w: %s", d.err, d.log.text())
	case len(stamps) == 0 || base <= 0:
		return nil, fmt.Errorf("no frames: %s", d.log.text())
	}
	if missing > 2 { // the last frames of some containers have none
		t.N, t.Keys, t.Untimed, t.Period = len(stamps), len(keys), true, float64(length)*base
		return t, nil
	}
	t.set(stamps, base)
	if t.Keys = len(keys); t.Keys < t.N {
		for _, k := range keys {
			at, _ := slices.BinarySearch(stamps, k) // set has sorted them
			t.KeyAt = append(t.KeyAt, at)
		}
		slices.Sort(t.KeyAt)
	}
	return t, nil
}

// maxFilmFrames bounds the frames of a film: 10 hours at 60 a second. maxHeadLines bounds
// the lines of a list of packets that are none.
const (
	maxFilmFrames = 1 << 21
	maxHeadLines  = 1000
)

// head parses a line of framecrc's header.
func (t *timeline) head(line string, base *float64) {
	key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
	var a, b int
	switch key {
	case "#tb 0":
		if n, _ := fmt.Sscanf(value, "%d/%d", &a, &b); n == 2 && b > 0 {
			*base = float64(a) / float64(b)
		}
	case "#dimensions 0":
		fmt.Sscanf(value, "%dx%d", &t.Width, &t.Height)
	case "#codec_id 0":
		t.Codec = value
	}
}

type packet struct {
	dts, pts, duration int64
	key                bool
	discarded          bool // by an edit list
}

// parsePacket parses a line of framecrc: stream, dts, pts, duration, size, checksum
// and flags. Other lines are not ok.
func parsePacket(line string) (p packet, ok bool) {
	_, rest, _ := strings.Cut(line, ",")
	for _, to := range []*int64{&p.dts, &p.pts, &p.duration} {
		var field string
		if field, rest, ok = strings.Cut(rest, ","); !ok {
			return p, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(field), 10, 64)
		if err != nil {
			return p, false
		}
		*to = n
	}
	if _, rest, ok = strings.Cut(rest, ","); !ok { // the size
		return p, false
	}
	flags := int64(1)
	for f := range strings.SplitSeq(rest, ",") {
		if v, found := strings.CutPrefix(strings.TrimSpace(f), "F=0x"); found {
			flags, _ = strconv.ParseInt(v, 16, 64)
		}
	}
	p.key, p.discarded = flags&1 != 0, flags&4 != 0
	return p, true
}

// set orders the stamps and stores them, as a constant distance where they are
// within a tick of one.
func (t *timeline) set(stamps []int64, base float64) {
	slices.Sort(stamps)
	n := len(stamps)
	t.N, t.First = n, float64(stamps[0])*base
	if n == 1 {
		return
	}
	period := float64(stamps[n-1]-stamps[0]) / float64(n-1)
	for k, s := range stamps {
		if math.Abs(float64(stamps[0])+float64(k)*period-float64(s)) > max(1, period/20) || period == 0 {
			t.Times = make([]float64, n)
			for i, s := range stamps {
				t.Times[i] = float64(s) * base
			}
			return
		}
	}
	t.Period = period * base
}

// tail is a writer that retains the last tailBytes bytes.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 600

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(len(p)-tailBytes, 0):]...)
	t.b = t.b[max(len(t.b)-tailBytes, 0):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes.Contains(t.b, []byte("matches no streams")) { // of -map
		return "there is no video in it"
	}
	text := strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(t.b, nil)), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if lacksCodec.MatchString(text) {
		text += ": this ffmpeg was built without it; install a complete one (" + installFFmpeg + ")"
	}
	return text
}

// lacksCodec matches what ffmpeg writes where it has no decoder or encoder, from 4.2 on, and from 7.0 on.
var lacksCodec = regexp.MustCompile(`Decoder \(codec [^)]*\) not found|no decoder found for|Unknown (de|en)coder '`)

// search is the number of the first frame that is shown at or after a time, in
// seconds after the first frame.
func (t *timeline) search(at float64) int {
	return sort.Search(t.N, func(k int) bool { return t.at(k)-t.at(0) >= at-1e-6 })
}

// seek is where decoding from frame k on starts: between it and the one before.
func (t *timeline) seek(k int, lead float64) seek {
	switch {
	case k == 0:
		return seek{}
	case t.Untimed:
		return seek{skip: k}
	}
	return seek{from: (t.at(k-1) + t.at(k)) / 2, lead: lead}
}

func isEOF(err error) bool { return err == io.EOF }

// lead is the time in seconds by which a film is sought early. Containers with an
// index of their key frames need none; in the others ffmpeg may land late.
func lead(kind string) float64 {
	if slices.Contains(mp4Kinds, kind) || kind == ".mkv" || kind == ".webm" {
		return 0
	}
	return 10
}

// mp4Kinds are the extensions of MP4 and QuickTime files.
var mp4Kinds = []string{".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2"}
