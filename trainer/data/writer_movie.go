package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"magvit/trainer/atomicfile"
)

// movieWriter writes clips one after another into an .mp4 or .gif file by ffmpeg.
type movieWriter struct {
	ctx    context.Context
	path   string
	fps    int
	file   *atomicfile.Pending // what ffmpeg writes
	cmd    *exec.Cmd
	pipe   io.WriteCloser
	stderr bytes.Buffer
	w, h   int
}

// start runs ffmpeg for frames of the first clip's size.
func (s *movieWriter) start(clip OutputClip) error {
	s.w, s.h = clip.width(), clip.H
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return badf("%s: ffmpeg is not installed (magvit doctor says how to get it); .npz and folders of PNG work without", s.path)
	}
	if s.file, err = atomicfile.Create(s.path); err != nil {
		return err
	}
	args := []string{"-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgba",
		"-s", fmt.Sprintf("%dx%d", s.w, s.h), "-r", fmt.Sprint(s.fps), "-i", "pipe:0"}
	if strings.EqualFold(filepath.Ext(s.path), ".gif") {
		// No dithering: speckle and flicker would look like faults of the tokenizer.
		args = append(args, "-filter_complex", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none")
	} else {
		args = append(args, "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
	}
	s.cmd = exec.CommandContext(s.ctx, program, append(args, s.file.Name())...)
	s.cmd.Stderr = &s.stderr
	if s.pipe, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	return s.cmd.Start()
}

func (s *movieWriter) Add(clip OutputClip) error {
	if s.cmd == nil {
		if err := s.start(clip); err != nil {
			return err
		}
	}
	if clip.width() != s.w || clip.H != s.h {
		return badf("%s: %s has another size than the clips before; write a folder of PNG instead", s.path, clip.Name)
	}
	for f := range clip.Frames {
		if _, err := s.pipe.Write(clip.picture(f).Pix); err != nil {
			return s.failed(errors.Join(s.cmd.Wait(), err)) // why it stopped reading
		}
	}
	return nil
}

func (s *movieWriter) Finish() error {
	if err := errors.Join(s.pipe.Close(), s.cmd.Wait()); err != nil {
		return s.failed(err)
	}
	s.cmd = nil
	return s.file.Commit()
}

// failed adds what ffmpeg said to an error.
func (s *movieWriter) failed(err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return fmt.Errorf("%s: ffmpeg: %w: %s", s.path, err, strings.TrimSpace(s.stderr.String()))
}

func (s *movieWriter) Abort() {
	if s.cmd != nil && s.cmd.ProcessState == nil && s.cmd.Process != nil {
		s.pipe.Close()
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
	if s.file != nil {
		s.file.Abort()
	}
}
