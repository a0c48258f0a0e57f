package data

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// mp4Film is what an MP4 or QuickTime file says of its first video track: where each
// sample (a coded frame) is, when it is shown, and the boxes that describe the track.
type mp4Film struct {
	file      io.ReaderAt
	timescale float64 // ticks of dts and pts a second
	size      []uint32
	offset    []int64
	dts, pts  []int64 // ticks, in decoding order
	key       []bool  // empty: every sample is a key frame
	shown     []int32 // samples in the order of pts
	nalLength int     // bytes of the length in front of a unit of H.264

	mvhd, tkhd, mdhd, hdlr, dinf, stsd []byte // whole boxes, in moov
	moov                               []byte
}

// errNotShortened is the reason why a film is read by ffmpeg itself: it is no H.264 in MP4, or
// has what mp4Film does not describe.
var errNotShortened = errors.New("not a film whose samples can be selected")

// maxMoov bounds the bytes of the description of an MP4 file.
const maxMoov = 64 << 20

// read reads the description of an H.264 film, of a file of size bytes, into the memory that f has.
//
// Why in the same memory: the tables of a film of two hours are 10 MB, and are read for each window of it.
func (f *mp4Film) read(file io.ReaderAt, size int64) error {
	*f = mp4Film{file: file, moov: f.moov[:0], size: f.size, offset: f.offset, dts: f.dts, pts: f.pts, key: f.key[:0], shown: f.shown}
	for at := int64(0); len(f.moov) == 0; {
		var head [16]byte
		if n, _ := file.ReadAt(head[:], at); n < 8 {
			return errNotShortened
		}
		length, body := int64(binary.BigEndian.Uint32(head[:])), int64(8)
		if length == 1 {
			length, body = int64(binary.BigEndian.Uint64(head[8:])), 16
		}
		if length < body || length > size-at {
			return errNotShortened
		}
		if string(head[4:8]) == "moov" {
			if length > maxMoov || length == body {
				return errNotShortened
			}
			f.moov = grown(f.moov, int(length-body))
			if _, err := file.ReadAt(f.moov, at+body); err != nil {
				return err
			}
		}
		at += length
	}
	var trak []byte
	for kind, box := range boxes(f.moov) {
		switch {
		case kind == "mvhd":
			f.mvhd = box
		case kind == "mvex": // the samples are described in fragments
			return errNotShortened
		case kind == "trak" && trak == nil && string(firstBytes(find(box[8:], "mdia", "hdlr"), 16, 4)) == "vide":
			trak = box[8:]
		}
	}
	if err := f.track(trak); err != nil {
		return err
	}
	for i, n := range f.size {
		if f.offset[i] < 0 || f.offset[i] > size-int64(n) {
			return errNotShortened
		}
	}
	return nil
}

// boxes yields the boxes of a container with their headers, up to the first one that is damaged.
func boxes(b []byte) func(yield func(kind string, box []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			n := binary.BigEndian.Uint32(b)
			if n < 8 || uint64(n) > uint64(len(b)) || !yield(string(b[4:8]), b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// find returns the box at a path below a container, with its header, nil if it is not there.
func find(b []byte, path ...string) []byte {
	for kind, box := range boxes(b) {
		if kind == path[0] {
			if len(path) == 1 {
				return box
			}
			return find(box[8:], path[1:]...)
		}
	}
	return nil
}

// firstBytes is b[from:from+n], nil if b is shorter.
func firstBytes(b []byte, from, n int) []byte {
	if len(b) < from+n {
		return nil
	}
	return b[from : from+n]
}

// table returns the entries of a full box that counts them, each of width bytes; head bytes
// are between the flags and the entries, the last four of them the count.
func table(box []byte, head, width int) ([]byte, int, bool) {
	if len(box) < 12+head {
		return nil, 0, false
	}
	n := int64(binary.BigEndian.Uint32(box[8+head:]))
	rest := box[12+head:]
	if n > maxFilmFrames || n*int64(width) > int64(len(rest)) {
		return nil, 0, false
	}
	return rest, int(n), true
}

// track parses a trak box.
func (f *mp4Film) track(trak []byte) error {
	f.tkhd, f.mdhd, f.hdlr = find(trak, "tkhd"), find(trak, "mdia", "mdhd"), find(trak, "mdia", "hdlr")
	f.dinf = find(trak, "mdia", "minf", "dinf")
	stbl := find(trak, "mdia", "minf", "stbl")
	if f.mvhd == nil || f.tkhd == nil || f.mdhd == nil || f.dinf == nil || len(stbl) < 8 || !simpleEdits(find(trak, "edts", "elst")) {
		return errNotShortened
	}
	at := 20 // of the timescale, with times of 32 bits
	if v := firstBytes(f.mdhd, 8, 1); v != nil && v[0] == 1 {
		at = 28
	}
	scale := firstBytes(f.mdhd, at, 4)
	if scale == nil || binary.BigEndian.Uint32(scale) == 0 {
		return errNotShortened
	}
	f.timescale = float64(binary.BigEndian.Uint32(scale))
	if !f.h264(find(stbl[8:], "stsd")) || !f.samples(stbl[8:]) {
		return errNotShortened
	}
	f.sort()
	for k := 1; k < len(f.shown); k++ {
		if f.pts[f.shown[k-1]] == f.pts[f.shown[k]] {
			return errNotShortened
		}
	}
	return nil
}

// sort orders the samples as they are shown.
func (f *mp4Film) sort() {
	f.shown = grown(f.shown, len(f.pts))
	for i := range f.shown {
		f.shown[i] = int32(i)
	}
	left := 32 * len(f.shown) // steps, of which films need few: a sample is shown at most 16 after it is decoded
	for i := range f.shown {
		for j := i; j > 0 && f.pts[f.shown[j-1]] > f.pts[f.shown[j]]; j-- {
			f.shown[j-1], f.shown[j] = f.shown[j], f.shown[j-1]
			if left--; left == 0 {
				slices.SortFunc(f.shown, func(a, b int32) int { return cmp.Compare(f.pts[a], f.pts[b]) })
				return
			}
		}
	}
}

// isKey reports whether a sample is a key frame.
func (f *mp4Film) isKey(i int) bool { return len(f.key) == 0 || f.key[i] }

// simpleEdits reports whether an edit list has at most one edit that shows the film, at its
// normal rate: such a list shifts the film, or cuts frames off, which makes their number differ
// from that of the index.
func simpleEdits(elst []byte) bool {
	if elst == nil {
		return true
	}
	wide := len(elst) > 8 && elst[8] == 1
	width := 12
	if wide {
		width = 20
	}
	rest, n, ok := table(elst, 4, width)
	shown := 0
	for k := range n {
		e := rest[k*width : (k+1)*width]
		empty := int32(binary.BigEndian.Uint32(e[4:])) == -1
		if wide {
			empty = int64(binary.BigEndian.Uint64(e[8:])) == -1
		}
		if empty {
			continue
		}
		shown++
		ok = ok && binary.BigEndian.Uint32(e[width-4:]) == 1<<16
	}
	return ok && shown <= 1
}

// h264 parses the description of the samples: one of H.264 is wanted.
func (f *mp4Film) h264(stsd []byte) bool {
	const entry = 16 + 86 // the description's header and the fields of a visual sample
	if len(stsd) < entry || binary.BigEndian.Uint32(stsd[12:]) != 1 || string(stsd[20:24]) != "avc1" {
		return false
	}
	length := firstBytes(find(stsd[entry:], "avcC"), 12, 1)
	if length == nil {
		return false
	}
	f.stsd, f.nalLength = stsd, int(length[0]&3)+1
	return true
}

// samples parses the tables of sizes, places and times.
func (f *mp4Film) samples(stbl []byte) bool {
	u32 := binary.BigEndian.Uint32
	// Sizes: one for all samples, or a table.
	stsz := find(stbl, "stsz")
	if len(stsz) < 20 {
		return false
	}
	n := int(u32(stsz[16:]))
	all := u32(stsz[12:])
	if n < 1 || n > maxFilmFrames || all == 0 && len(stsz)-20 < 4*n {
		return false
	}
	f.size = grown(f.size, n)
	for i := range f.size {
		if f.size[i] = all; all == 0 {
			f.size[i] = u32(stsz[20+4*i:])
		}
	}
	return f.offsets(stbl) && f.times(stbl) && f.keys(find(stbl, "stss"))
}

// offsets computes the place of each sample from the places of the chunks.
func (f *mp4Film) offsets(stbl []byte) bool {
	u32 := binary.BigEndian.Uint32
	width := 4
	chunks, count, ok := table(find(stbl, "stco"), 4, 4)
	if !ok {
		width = 8
		chunks, count, ok = table(find(stbl, "co64"), 4, 8)
	}
	runs, runCount, ok2 := table(find(stbl, "stsc"), 4, 12)
	if !ok || !ok2 || runCount == 0 {
		return false
	}
	f.offset = grown(f.offset, len(f.size))[:0]
	run := 0
	for chunk := 1; chunk <= count; chunk++ {
		if run+1 < runCount && int(u32(runs[12*(run+1):])) == chunk {
			run++
		}
		at := int64(u32(chunks[(chunk-1)*width:]))
		if width == 8 {
			at = int64(binary.BigEndian.Uint64(chunks[(chunk-1)*width:]))
		}
		for range u32(runs[12*run+4:]) {
			if len(f.offset) == len(f.size) {
				return false
			}
			f.offset = append(f.offset, at)
			at += int64(f.size[len(f.offset)-1])
		}
	}
	return len(f.offset) == len(f.size)
}

// times computes when each sample is decoded and shown.
func (f *mp4Film) times(stbl []byte) bool {
	u32 := binary.BigEndian.Uint32
	runs, count, ok := table(find(stbl, "stts"), 4, 8)
	if !ok {
		return false
	}
	f.dts = grown(f.dts, len(f.size))[:0]
	at := int64(0)
	for k := range count {
		for range u32(runs[8*k:]) {
			if len(f.dts) == len(f.size) {
				return false
			}
			f.dts = append(f.dts, at)
			at += int64(u32(runs[8*k+4:]))
		}
	}
	if len(f.dts) != len(f.size) {
		return false
	}
	f.pts = append(grown(f.pts, len(f.dts))[:0], f.dts...)
	ctts := find(stbl, "ctts")
	if ctts == nil {
		return true
	}
	if runs, count, ok = table(ctts, 4, 8); !ok {
		return false
	}
	i := 0
	for k := range count {
		for range u32(runs[8*k:]) {
			if i == len(f.pts) {
				return false
			}
			f.pts[i] += int64(int32(u32(runs[8*k+4:]))) // signed in QuickTime and in version 1
			i++
		}
	}
	return i == len(f.pts)
}

// keys parses the table of key frames; without one, all are.
func (f *mp4Film) keys(stss []byte) bool {
	if stss == nil {
		return true
	}
	list, n, ok := table(stss, 4, 4)
	if !ok {
		return false
	}
	f.key = grown(f.key, len(f.size))
	clear(f.key)
	for k := range n {
		i := int(binary.BigEndian.Uint32(list[4*k:])) - 1
		if i < 0 || i >= len(f.key) {
			return false
		}
		f.key[i] = true
	}
	return true
}
