package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"magvit/trainer/atomicfile"
)

// movieWriter writes clips one after another into an .mp4 or .gif file by ffmpeg. Any message of ffmpeg at level error
// fails it, since ffmpeg exits with 0 after errors such as a full disk.
type movieWriter struct {
	ctx    context.Context
	path   string
	fps    float64
	file   *atomicfile.Pending // what ffmpeg writes
	cmd    *exec.Cmd
	cancel context.CancelFunc
	pipe   io.WriteCloser
	stderr tail
	w, h   int
	frames int
	limit  time.Duration // for ffmpeg to accept a frame
	finish time.Duration // for ffmpeg to finish, for each 1000 frames
	stuck  atomic.Int64  // the limit, in ns, that ffmpeg exceeded and was killed for; 0: none
}

const (
	frameLimit  = time.Minute      // for ffmpeg to accept a frame
	finishLimit = 10 * time.Minute // for ffmpeg to finish after the last frame, and as much again for each 1000 frames
)

// start runs ffmpeg for frames of the first clip's size.
func (s *movieWriter) start(clip OutputClip) error {
	s.w, s.h = clip.width(), clip.H
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return badf("%s: ffmpeg is not installed (magvit doctor describes how to get it); .npz and folders of PNG work without", s.path)
	}
	if s.file, err = atomicfile.Create(s.path); err != nil {
		return err
	}
	args := []string{"-v", "error", "-xerror", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgba",
		"-s", fmt.Sprintf("%dx%d", s.w, s.h), "-r", fmt.Sprint(s.fps), "-i", "pipe:0"}
	if strings.EqualFold(filepath.Ext(s.path), ".gif") {
		// No dithering: speckle and flicker would look like faults of the tokenizer.
		args = append(args, "-filter_complex", "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none")
	} else {
		args = append(args, "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(s.ctx)
	s.cmd = exec.CommandContext(ctx, program, append(args, s.file.Name())...)
	s.cmd.WaitDelay = time.Second // for processes that ffmpeg may have started
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
		s.frames++
		done := s.within(s.limit)
		_, err := s.pipe.Write(clip.picture(f).Pix)
		if done(); err != nil {
			return s.failed(errors.Join(s.cmd.Wait(), err)) // why it stopped reading
		}
	}
	return nil
}

func (s *movieWriter) Finish() error {
	if err := s.encode(); err != nil {
		return err
	}
	return s.file.Commit()
}

// encode waits for ffmpeg to finish the file, under its temporary name.
func (s *movieWriter) encode() error {
	done := s.within(s.finish * time.Duration(1+s.frames/1000))
	err := errors.Join(s.pipe.Close(), s.cmd.Wait())
	done()
	if st, statErr := os.Stat(s.file.Name()); err == nil && (statErr != nil || st.Size() == 0) {
		err = errors.Join(errors.New("it wrote nothing"), statErr)
	}
	if err == nil && s.stderr.text() != "" {
		err = errors.New("it reports an error")
	}
	if err != nil {
		return s.failed(err)
	}
	s.cmd = nil
	return nil
}

// within kills ffmpeg unless the returned function is called in time.
func (s *movieWriter) within(limit time.Duration) (done func()) {
	t := time.AfterFunc(limit, func() {
		s.stuck.Store(int64(limit))
		s.cancel()
	})
	return func() { t.Stop() }
}

// failed adds the messages of ffmpeg to an error.
func (s *movieWriter) failed(err error) error {
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case s.stuck.Load() > 0:
		return fmt.Errorf("%s: ffmpeg is stuck: it was ended after %v at frame %d: %s", s.path, time.Duration(s.stuck.Load()), s.frames, s.stderr.text())
	}
	return fmt.Errorf("%s: ffmpeg: %w: %s", s.path, err, s.stderr.text())
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
