package data

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// readVideo decodes a video file by one ffmpeg process that writes its frames as
// PPM to a pipe.
//
// Why PPM: it is raw rgb24 with the size in front of each frame, so that rotated
// and anamorphic files need no second process and no guess. Why a constant rate
// of 25: frames come as they are stored, none doubled and none dropped.
func readVideo(ctx context.Context, ffmpeg, path string) (*pixels, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// "file:" keeps names that start with "-" or hold ":" from being read as something else;
	// the whitelist keeps a playlist in disguise from opening addresses.
	cmd := exec.CommandContext(ctx, ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-xerror",
		"-threads", "1", "-protocol_whitelist", "file,pipe", "-i", "file:"+path,
		"-map", "0:v:0", "-an", "-sn", "-dn", "-vf", "setpts=N/(25*TB)", "-r", "25",
		"-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1")
	var log tail
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting ffmpeg: %w", err)
	}
	p, err := readPPM(bufio.NewReaderSize(out, 1<<16))
	if err != nil {
		cancel() // it may still be writing
	}
	if e := cmd.Wait(); e != nil && (err == nil || !errors.Is(err, errTooLarge)) {
		err = fmt.Errorf("ffmpeg: %w: %s", e, log.text())
	}
	if err == nil && p.t == 0 {
		err = fmt.Errorf("no frames: %s", log.text())
	}
	return p, err
}

// readPPM reads binary PPM pictures of one size up to the end.
func readPPM(r *bufio.Reader) (*pixels, error) {
	p := &pixels{}
	for {
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return p, nil
		}
		var w, h, top int
		if n, err := fmt.Fscanf(r, "P6\n%d %d\n%d", &w, &h, &top); n != 3 || top != 255 || w < 1 || h < 1 || w > 1<<15 || h > 1<<15 {
			return p, fmt.Errorf("frame %d: not a picture: %w", p.t, err)
		}
		if _, err := r.ReadByte(); err != nil { // the newline before the pixels
			return p, fmt.Errorf("frame %d: %w", p.t, err)
		}
		if p.t == 0 {
			p.h, p.w = h, w
		}
		if h != p.h || w != p.w {
			return p, fmt.Errorf("frame %d is %dx%d, the first one %dx%d", p.t, h, w, p.h, p.w)
		}
		n := len(p.rgb)
		if n+3*h*w > maxPixels {
			return p, errTooLarge
		}
		p.rgb = append(p.rgb, make([]byte, 3*h*w)...)
		if _, err := io.ReadFull(r, p.rgb[n:]); err != nil {
			return p, fmt.Errorf("frame %d: %w", p.t, err)
		}
		p.t++
	}
}

// tail is a writer that retains the last tailBytes bytes.
type tail struct{ b []byte }

const tailBytes = 600

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > tailBytes {
		t.b = t.b[len(t.b)-tailBytes:]
	}
	return len(p), nil
}

func (t *tail) text() string {
	return strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(t.b, nil)), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
