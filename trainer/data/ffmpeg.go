package data

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
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
	lines  []byte        // memory for lines of a picture
	left   int           // bytes of the last picture that were not read
	quiet  time.Duration // largest time without a frame
	timer  *time.Timer
	stuck  atomic.Bool
	once   sync.Once
	err    error // of the process
	unlike func([]string)
}

// stallTimeout is the largest time without a frame after which ffmpeg is ended. Of a machine with 15
// times as many programs as cores, 30 s ended one that was not stuck.
const stallTimeout = 60 * time.Second

// ffmpeg is the program that decodes films.
type ffmpeg struct {
	path  string
	stall time.Duration
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
	// unlike, if not nil, is called when ffmpeg has ended, with the properties of the film, see unlikeShown.
	unlike func([]string)
}

// open starts decoding a film. step is the distance of the frames to write, count their
// number, 0: all.
func (f *ffmpeg) open(ctx context.Context, of film, at seek, step, count int) (*decoder, error) {
	if err := f.usable(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	// The whitelist keeps a playlist in disguise from opening addresses.
	args := []string{"-xerror", "-threads", "1", "-protocol_whitelist", "file,pipe,subfile"}
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
	d := &decoder{cancel: cancel, unlike: of.unlike, quiet: f.stall + time.Duration(min(dropped, 1e6)*float64(time.Second))}
	if err := d.start(ctx, f.path, args, of.bytes); err != nil {
		cancel()
		return nil, err
	}
	return d, nil
}

func (d *decoder) start(ctx context.Context, path string, args []string, in io.Reader) error {
	d.cmd = exec.CommandContext(ctx, path, slices.Concat(logLevels, args)...)
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

// wait waits for the process, which ends by itself or is cancelled.
func (d *decoder) wait() {
	d.once.Do(func() {
		d.err = d.cmd.Wait()
		d.timer.Stop()
		d.cancel()
		if d.unlike != nil {
			d.unlike(d.log.unlike())
		}
	})
}

// close ends the process and returns its error.
func (d *decoder) close() error {
	d.cancel()
	d.timer.Stop()
	d.wait()
	return d.err
}

// picture is a decoded frame, whose lines decoder.read gives.
type picture struct{ h, w, depth int }

// next returns the next frame, io.EOF after the last one of a film that was decoded
// without an error. What was not read of the frame before is dropped.
func (d *decoder) next() (p picture, err error) {
	err = d.timed(func() error {
		if _, err := d.out.Discard(d.left); err != nil {
			return errCutFrame
		}
		d.left = 0
		p, err = d.header()
		return err
	})
	d.left = p.h * p.w * p.depth
	return p, err
}

// read calls do with the lines of the frame that next returned, rgb [n,w,3] from line y on, in order, n of them at a
// time: a frame of 1920x1080 takes 6 MB, n lines lineBlock at most. rgb is valid until do returns; a byte of memory follows it.
func (d *decoder) read(p picture, do func(y int, rgb []byte)) error {
	line := p.w * p.depth
	block := max(lineBlock/line, 1)
	d.lines = grown(d.lines, block*line+1)
	for y := 0; y < p.h; y += block {
		raw := d.lines[:min(block, p.h-y)*line]
		err := d.timed(func() error {
			n, err := io.ReadFull(d.out, raw)
			d.left -= n
			if err != nil {
				return errCutFrame
			}
			return nil
		})
		if err != nil {
			return err
		}
		if p.depth == 4 {
			raw = overWhite(raw)
		}
		do(y, raw)
	}
	return nil
}

// lineBlock bounds the bytes of a picture that are read at once, unless a line has more.
const lineBlock = 1 << 16

// errCutFrame is the error of a film that ends within a frame.
var errCutFrame = fmt.Errorf("a frame is cut off: %w", io.ErrUnexpectedEOF)

// timed calls read, which waits for the process, and ends the process where it takes too long. The error names what ffmpeg said.
func (d *decoder) timed(read func() error) error {
	d.timer.Reset(d.quiet)
	err := read()
	d.timer.Stop()
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) { // the process has closed its output: let it end by itself
		d.timer.Reset(d.quiet)
		d.wait()
	}
	e := d.close()
	switch {
	case d.stuck.Load():
		return fmt.Errorf("ffmpeg gave no frame for %v and was ended: %s", d.quiet, d.log.text())
	case errors.Is(err, io.EOF) && e != nil:
		return fmt.Errorf("ffmpeg: %w: %s", e, d.log.text())
	}
	return err
}

// Largest sides and bytes of a frame of a film.
const (
	maxFilmSide = 1 << 15
	maxFrame    = 1 << 28
)

// header parses the lines in front of a PAM picture. They are few and short; anything else is
// refused without reading on.
func (d *decoder) header() (p picture, err error) {
	if _, err := d.out.Peek(1); err != nil {
		return p, err
	}
	for i := 0; ; i++ {
		line, err := d.out.ReadSlice('\n')
		if err != nil || len(line) > 64 || i > 8 {
			return picture{}, fmt.Errorf("not a picture: %.40q", line)
		}
		key, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		n, _ := strconv.Atoi(string(value))
		switch string(key) {
		case "WIDTH":
			p.w = n
		case "HEIGHT":
			p.h = n
		case "DEPTH":
			p.depth = n
		}
		if string(key) == "ENDHDR" {
			break
		}
	}
	if p.h < 1 || p.w < 1 || p.h > maxFilmSide || p.w > maxFilmSide || p.depth != 3 && p.depth != 4 || p.h*p.w > maxFrame/4 {
		return picture{}, fmt.Errorf("a frame of %dx%d pixels and %d channels; legal: up to %d bytes", p.w, p.h, p.depth, maxFrame)
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
