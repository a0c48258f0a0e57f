package videocodec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// encoders are the video encoders of the ffmpeg on the PATH.
func encoders(ctx context.Context) (map[string]bool, error) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return nil, errors.New("ffmpeg is not on the PATH: install it (apt-get install ffmpeg, brew install ffmpeg)")
	}
	out, err := ffmpeg(ctx, "-encoders")
	if err != nil {
		return nil, err
	}
	return parseEncoders(out), nil
}

// parseEncoders reads the list of ffmpeg -encoders: flags that begin with V, a name, words.
func parseEncoders(list []byte) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 2 && f[0][0] == 'V' && f[1] != "=" {
			found[f[1]] = true
		}
	}
	return found
}

// ffmpeg returns what a command prints.
func ffmpeg(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-nostdin", "-hide_banner", "-loglevel", "error"}, args...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("ffmpeg: %w: %s", err, lastLine(log.Bytes())))
	}
	return out, nil
}

// encoding are the arguments that turn the raw film into packets.
func (s *set) encoding(c Codec, crf float64) []string {
	gop := strconv.Itoa(s.cfg.Frames)
	args := []string{"-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", fmt.Sprintf("%dx%d", s.w, s.h), "-framerate", "25", "-i", s.raw(),
		"-sws_flags", "accurate_rnd+full_chroma_int+bitexact", "-pix_fmt", "yuv420p", "-c:v", c.Encoder, "-threads", "1",
		"-crf", number(crf), "-g", gop, "-keyint_min", gop}
	return append(args, c.args...)
}

// bits is the size of the packets, without container and without headers that all clips share.
func (s *set) bits(ctx context.Context, c Codec, crf float64) (float64, error) {
	list, err := ffmpeg(ctx, append(s.encoding(c, crf), "-bsf:v", c.filter, "-f", "framecrc", "pipe:1")...)
	if err != nil {
		return 0, err
	}
	bytes, packets, err := packetBytes(list)
	if err == nil && packets != s.clips*s.cfg.Frames {
		err = fmt.Errorf("ffmpeg wrote %d packets for %d frames", packets, s.clips*s.cfg.Frames)
	}
	return 8 * float64(bytes), err
}

// packetBytes sums the fifth column of ffmpeg's framecrc, the size of each packet.
func packetBytes(list []byte) (bytes, packets int, err error) {
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, ",")
		if len(f) < 6 {
			return 0, 0, fmt.Errorf("ffmpeg's packet list has the line %.60q", line)
		}
		n, err := strconv.Atoi(strings.TrimSpace(f[4]))
		if err != nil {
			return 0, 0, fmt.Errorf("ffmpeg's packet list: %w", err)
		}
		bytes, packets = bytes+n, packets+1
	}
	return bytes, packets, nil
}

// decoder is a process that writes frames as rgb24 to out.
type decoder struct {
	cmd *exec.Cmd
	out io.Reader
	log bytes.Buffer
}

// decode encodes the film again and decodes it.
func (s *set) decode(ctx context.Context, c Codec, crf float64) (*decoder, error) {
	file := filepath.Join(s.dir, "clips.mkv")
	if _, err := ffmpeg(ctx, append(s.encoding(c, crf), "-y", file)...); err != nil {
		return nil, err
	}
	d := &decoder{cmd: exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1", "-i", file,
		"-sws_flags", "accurate_rnd+full_chroma_int+bitexact", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1")}
	d.cmd.Stderr = &d.log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewReaderSize(out, 1<<16)
	return d, d.cmd.Start()
}

// fail is the error of a film that ends too early.
func (d *decoder) fail(err error) error {
	return fmt.Errorf("the decoded film ends too early: %w: %s", err, lastLine(d.log.Bytes()))
}

// close ends the process, whose frames are all read or not wanted.
func (d *decoder) close() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

func lastLine(log []byte) string {
	lines := strings.FieldsFunc(string(bytes.ToValidUTF8(log, nil)), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return "no message"
	}
	return lines[len(lines)-1]
}
