package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// movieSink writes clips one after another into an .mp4 or .gif file by ffmpeg.
type movieSink struct {
	ctx    context.Context
	path   string
	fps    int
	aside  string // file that ffmpeg writes
	cmd    *exec.Cmd
	pipe   io.WriteCloser
	stderr bytes.Buffer
	w, h   int
}

// start runs ffmpeg for frames of the first clip's size.
func (s *movieSink) start(clip shown) error {
	s.w, s.h = clip.width(), clip.h
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return usagef("--out %s: ffmpeg is not installed (magvit doctor says how to get it); .npz and folders of PNG work without", s.path)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), "."+filepath.Base(s.path)+".*"+filepath.Ext(s.path))
	if err != nil {
		return err
	}
	s.aside = f.Name()
	if err := f.Close(); err != nil {
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
	s.cmd = exec.CommandContext(s.ctx, program, append(args, s.aside)...)
	s.cmd.Stderr = &s.stderr
	if s.pipe, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	return s.cmd.Start()
}

func (s *movieSink) add(clip shown) error {
	if s.cmd == nil {
		if err := s.start(clip); err != nil {
			return err
		}
	}
	if clip.width() != s.w || clip.h != s.h {
		return usagef("--out %s: %s has another size than the clips before; write a folder of PNG instead", s.path, clip.name)
	}
	for f := range clip.frames {
		if _, err := s.pipe.Write(clip.picture(f).Pix); err != nil {
			return s.failed(errors.Join(s.cmd.Wait(), err)) // why it stopped reading
		}
	}
	return nil
}

func (s *movieSink) finish() error {
	if err := errors.Join(s.pipe.Close(), s.cmd.Wait()); err != nil {
		return s.failed(err)
	}
	s.cmd = nil
	if err := os.Chmod(s.aside, 0o644); err != nil {
		return err
	}
	return os.Rename(s.aside, s.path)
}

// failed adds what ffmpeg said to an error.
func (s *movieSink) failed(err error) error {
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return fmt.Errorf("%s: ffmpeg: %w: %s", s.path, err, strings.TrimSpace(s.stderr.String()))
}

func (s *movieSink) abort() {
	if s.cmd != nil && s.cmd.ProcessState == nil && s.cmd.Process != nil {
		s.pipe.Close()
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
	if s.aside != "" {
		os.Remove(s.aside)
	}
}
