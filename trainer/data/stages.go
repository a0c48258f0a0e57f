package data

import (
	"sync"
	"time"
)

// Stages is the time that the workers of a Loader spent in each stage of reading, summed
// over the workers. It includes the time in which a worker waits for ffmpeg or a disk.
type Stages struct {
	Decode time.Duration // reading, demuxing and decoding, up to frames of the stored size
	Resize time.Duration // scaling frames to the size of a batch
	Batch  time.Duration // foreground, augmentation and copying into a batch
	Clips  int           // rows of batches
	Frames int           // of these clips
}

// stageClock adds up Stages. Its methods are safe for concurrent use.
type stageClock struct {
	mu    sync.Mutex
	total Stages
}

func (c *stageClock) add(s Stages) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Decode += s.Decode
	c.total.Resize += s.Resize
	c.total.Batch += s.Batch
	c.total.Clips += s.Clips
	c.total.Frames += s.Frames
}

// Stages returns the time that the workers spent until now.
func (l *Loader) Stages() Stages {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	return l.clock.total
}
