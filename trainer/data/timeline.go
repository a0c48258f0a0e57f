package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

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
	Unlike  []string  `json:"unlike_shown,omitempty"` // streams of unlikeShown
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
	if err := d.start(ctx, f.path, []string{"-protocol_whitelist", "file,pipe,subfile",
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
	d.wait()
	t.Unlike = d.log.unlike()
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
