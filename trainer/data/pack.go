package data

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/flate"

	"magvit/trainer/atomicfile"
)

// packed are the arrays by which a shard of Pack differs from another .npz: the names,
// parts, numbers of frames and checksums of its clips, and the settings it was made with.
const (
	packedNames  = "clip_names"
	packedParts  = "clip_parts"
	packedFrames = "clip_frames"
	packedSums   = "clip_crc32c" // of the bytes of each clip
	packedBy     = "packed_by"
)

// PackShard is the number of clips of the source whose windows are in one shard.
const PackShard = 64

// Pack writes the clips of src as cfg reads them, cut, scaled and as bytes, into the
// folder dir, one .npz file of plain arrays for PackShard clips. A shard that is there
// and was made with the same settings is kept, so that an interrupted Pack goes on. A folder
// that is removed or replaced meanwhile is an error.
// done is called after each shard. It returns the clips that could not be read.
//
// Why .npz: any program reads it, and videos that are not compressed are read from their
// place in the file. Why a checksum for each clip: that of the archive covers all of
// them, and damage should cost the clip that it is in. Why reads and no mapping: they
// come from the same page cache, and a mapped file that is cut ends the program.
func Pack(ctx context.Context, src Source, cfg Config, dir string, done func(n, of int)) (skipped []*ClipError, err error) {
	all := make([]int, src.Len())
	for i := range all {
		all[i] = i
	}
	if cfg, err = Resolve(ctx, src, all, cfg); err != nil {
		return nil, err
	}
	folder, err := atomicfile.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	for at := 0; at < len(all); at += PackShard {
		indices := all[at:min(at+PackShard, len(all))]
		path := filepath.Join(dir, fmt.Sprintf("%06d.npz", at/PackShard))
		settings := fmt.Sprintf("clips %d to %d, first %s, last %s, frames %d, size %dx%dx%d, fps %g, stride %d, windows %q, fit %q",
			at, at+len(indices), src.Name(indices[0]), src.Name(indices[len(indices)-1]), cfg.Frames, cfg.Height, cfg.Width, cfg.Channels, cfg.FPS, cfg.Stride, cfg.Windows, cfg.Fit)
		switch was, err := packedWith(path); {
		case err == nil && was == settings:
		case err == nil:
			return skipped, badf("%s was packed otherwise (%s): choose another folder, or remove it", path, was)
		case !errors.Is(err, os.ErrNotExist):
			return skipped, err
		default:
			bad, err := packShard(ctx, src, indices, cfg, path, settings)
			skipped = append(skipped, bad...)
			if gone := folder.Check(); gone != nil {
				return skipped, gone
			}
			if err != nil {
				return skipped, err
			}
		}
		if done != nil {
			done(at+len(indices), len(all))
		}
	}
	return skipped, nil
}

func packedWith(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	a, err := ReadArrays(path, packedBy)
	if err != nil {
		return "", err
	}
	if s, ok := a[packedBy].Data.([]string); ok && len(s) == 1 {
		return s[0], nil
	}
	return "", badf("%s: %s is no text", path, packedBy)
}

// IsPacked reports whether a folder holds shards of packed clips and nothing else.
func IsPacked(dir string) bool {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), atomicfile.Prefix) {
			continue
		}
		if _, other := packedWith(filepath.Join(dir, e.Name())); other != nil {
			return false
		}
	}
	return err == nil && len(entries) > 0
}

// packShard writes one shard. The videos are gathered in a file first, since their
// number is known at the end.
func packShard(ctx context.Context, src Source, indices []int, cfg Config, path, settings string) (skipped []*ClipError, err error) {
	spill, err := os.CreateTemp(filepath.Dir(path), atomicfile.Prefix+"*.videos")
	if err != nil {
		return nil, err
	}
	defer func() { spill.Close(); os.Remove(spill.Name()) }()
	out := bufio.NewWriterSize(spill, 1<<20)
	var s packedClips
	raw := make([]byte, cfg.Whole(1).Values())
	skipped, err = Each(ctx, src, indices, cfg, 1, func(b *Batch) error {
		pixels := b.H * b.W
		for f := range b.T {
			for p := range pixels {
				for k := range b.C {
					raw[(f*b.C+k)*pixels+p] = byte(min(max(b.Video[(f*pixels+p)*b.C+k], 0), 1)*255 + .5)
				}
			}
		}
		s.add(src, b, raw)
		if _, err := out.Write(raw); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil || len(s.names) == 0 {
		return skipped, err
	}
	if _, err := spill.Seek(0, io.SeekStart); err != nil {
		return skipped, err
	}
	n := len(s.names)
	return skipped, atomicfile.Write(path, func(f io.Writer) error {
		z := zip.NewWriter(f)
		z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 5) })
		w, err := z.CreateHeader(&zip.FileHeader{Name: "videos.npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if _, err := w.Write(appendNpyHeader(nil, "|u1", []int{n, cfg.Frames, cfg.Channels, cfg.Height, cfg.Width})); err != nil {
			return err
		}
		if _, err := io.Copy(w, spill); err != nil {
			return err
		}
		arrays := []Array{
			{packedBy, []int{1}, []string{settings}}, {packedNames, []int{n}, s.names}, {packedParts, []int{n}, s.parts},
			{packedFrames, []int{n}, s.frames}, {packedSums, []int{n}, s.sums}, {"labels", []int{n}, s.labels},
		}
		if s.hasPoints {
			arrays = append(arrays, Array{"points_2d", []int{n, cfg.Frames, 2}, s.points})
		}
		if s.hasSpace {
			arrays = append(arrays, Array{"trajectory_3d", []int{n, cfg.Frames, 3}, s.space})
		}
		if err := (&npzWriter{z}).add(arrays...); err != nil {
			return err
		}
		return z.Close()
	})
}

// packedClips are the small arrays of a shard.
type packedClips struct {
	names, parts, labels []string
	frames               []int32
	sums                 []int64
	points, space        []float32
	hasPoints, hasSpace  bool
}

// checksum is CRC-32C.
func checksum(b []byte) int64 { return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

// add appends what is known of the clip in b, whose stored bytes are raw.
func (s *packedClips) add(src Source, b *Batch, raw []byte) {
	label := ""
	if l := b.Labels[0]; l >= 0 {
		label = src.Classes()[l]
	}
	s.names, s.labels = append(s.names, b.Names[0]), append(s.labels, label)
	s.parts, s.frames = append(s.parts, Part(src, b.Index[0])), append(s.frames, int32(b.Frames[0]))
	s.sums = append(s.sums, checksum(raw))
	s.hasPoints, s.hasSpace = s.hasPoints || b.HasPoints[0], s.hasSpace || b.HasSpace[0]
	s.points, s.space = appendKnown(s.points, b.Points, b.HasPoints[0]), appendKnown(s.space, b.Space, b.HasSpace[0])
}

// appendKnown appends positions, or as many unknown ones.
func appendKnown(to, positions []float32, known bool) []float32 {
	for _, v := range positions {
		if !known {
			v = float32(math.NaN())
		}
		to = append(to, v)
	}
	return to
}

// readPacked reads what a shard of Pack says of its clips.
func (s *arrays) readPacked(a *archive) (err error) {
	if s.names, err = s.readText(a, packedNames); err != nil {
		return err
	}
	if s.parts, err = s.readText(a, packedParts); err != nil {
		return err
	}
	if s.sums, err = s.readWhole(a, packedSums); err != nil {
		return err
	}
	numbers, err := s.readWhole(a, packedFrames)
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if n < 1 || n > int64(s.t) {
			return badf("%s: %s: clip %d has %d; legal: 1 to %d", s.path, packedFrames, i, n, s.t)
		}
		s.frames = append(s.frames, int(n))
	}
	return nil
}

// readWhole reads whole numbers [N], nil if there are none.
func (s *arrays) readWhole(a *archive, name string) ([]int64, error) {
	h, v, err := a.read(name, nil)
	if err != nil || h == nil {
		return nil, err
	}
	numbers, ok := v.([]int64)
	if !ok || len(numbers) != s.n {
		return nil, badf("%s: %s is %s %v; wanted: whole numbers [%d]", s.path, name, h.descr, h.shape, s.n)
	}
	return numbers, nil
}
