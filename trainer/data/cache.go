package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"magvit/trainer/atomicfile"
)

// diskCache holds decoded clips, one file each, so that later epochs and runs do not decode
// them again. A clip from it has the bits that decoding gives.
//
// The name of a file is a hash of everything that its pixels depend on: the content of the
// clip's file (contentHash), its size and time, the part of it, the frames and how they are
// fitted, and ffmpeg's version. A file is written under another name first, and ends with a checksum,
// so one that a kill or a full disk left incomplete, or that was damaged, is decoded again.
// What a run did not use makes room for what it lacks; what it used stays.
type diskCache struct {
	dir   string
	limit int64 // bytes
	began time.Time

	mu    sync.Mutex
	total int64
	old   []cacheFile // not used in this process, the longest unused first
	fails int         // files that could not be written
	err   error       // of the last one
}

type cacheFile struct {
	path string
	size int64
	used time.Time
}

// cacheKind is the extension of a decoded clip, cacheMagic its first bytes.
const (
	cacheKind  = ".clip"
	cacheMagic = "magvit clip 1\n"
)

// defaultCache bounds the bytes of a cache on the disk.
const defaultCache = 8000 // MB

// openCache makes the folder where needed and lists it.
func openCache(dir string, limit int64) (*diskCache, error) {
	c := &diskCache{dir: dir, limit: limit, began: time.Now()}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("data.cache: %w", err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // another process removed it
			return nil
		}
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case strings.HasPrefix(name, atomicfile.Prefix):
			if time.Since(info.ModTime()) > time.Hour { // of a process that was killed
				os.Remove(path)
			}
		case strings.HasSuffix(name, cacheKind):
			c.total += info.Size()
			c.old = append(c.old, cacheFile{path, info.Size(), info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("data.cache: %w", err)
	}
	slices.SortFunc(c.old, func(a, b cacheFile) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path))
	})
	return c, nil
}

// path is the file of a key.
func (c *diskCache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:16])
	return filepath.Join(c.dir, name[:2], name+cacheKind)
}

// read returns the clip of a key without its name and label.
func (c *diskCache) read(key string, mem *memory) (clip decoded, whole, ok bool) {
	path := c.path(key)
	raw, err := os.ReadFile(path)
	if err != nil {
		return clip, false, false
	}
	if clip, whole, err = decodeCached(raw, mem); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if os.Remove(path) == nil {
			c.total -= int64(len(raw))
			c.old = slices.DeleteFunc(c.old, func(f cacheFile) bool { return f.path == path })
		}
		return decoded{}, false, false
	}
	if info, err := os.Stat(path); err == nil && info.ModTime().Before(c.began) {
		os.Chtimes(path, time.Time{}, time.Now())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.old = slices.DeleteFunc(c.old, func(f cacheFile) bool { return f.path == path })
	}
	return clip, whole, true
}

// through returns the clip of a key from the cache or else decodes and stores it. On a nil cache
// or without a key it only decodes.
func (c *diskCache) through(key string, mem *memory, whole bool, decode func() (decoded, error)) (decoded, error) {
	if c == nil || key == "" {
		return decode()
	}
	if clip, w, ok := c.read(key, mem); ok && w == whole {
		return clip, nil
	}
	clip, err := decode()
	if err == nil {
		c.write(key, &clip, whole)
	}
	return clip, err
}

// write stores a clip, if there is room. A failure is counted: the clip is decoded again.
func (c *diskCache) write(key string, clip *decoded, whole bool) {
	raw := encodeCached(clip, whole)
	n := int64(len(raw))
	c.mu.Lock()
	for c.total+n > c.limit && len(c.old) > 0 {
		if err := os.Remove(c.old[0].path); err == nil || errors.Is(err, fs.ErrNotExist) {
			c.total -= c.old[0].size
		}
		c.old = c.old[1:]
	}
	if c.total+n > c.limit {
		c.mu.Unlock()
		return
	}
	c.total += n // before it is written, so that workers together stay below the limit
	c.mu.Unlock()
	path := c.path(key)
	err := os.Mkdir(filepath.Dir(path), 0o777)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = atomicfile.WriteBytes(path, raw)
	}
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.total -= n
		c.fails, c.err = c.fails+1, err
	}
}

// problem says what could not be written, "" if nothing.
func (c *diskCache) problem() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails == 0 {
		return ""
	}
	return fmt.Sprintf("data.cache: %d decoded clips could not be stored, and are decoded again: %v", c.fails, c.err)
}

// cachedHead begins a file of the cache, little-endian.
type cachedHead struct {
	Magic      [len(cacheMagic)]byte
	Whole      bool
	Bytes      bool // pixels are bytes, of k/255; else float32
	T, H, W, C uint32
	Times      uint32 // time stamps
}

// encodeCached writes the head, the time stamps, the pixels and a CRC-32C of all of them.
// Pixels that are all of the form k/255 are stored as bytes.
func encodeCached(c *decoded, whole bool) []byte {
	h := cachedHead{Whole: whole, T: uint32(c.T), H: uint32(c.H), W: uint32(c.W), C: uint32(c.C), Times: uint32(len(c.Times))}
	copy(h.Magic[:], cacheMagic)
	pixels := c.bytes
	if pixels == nil {
		pixels = exactBytes(c.Video)
	}
	h.Bytes = pixels != nil
	var w bytes.Buffer
	binary.Write(&w, binary.LittleEndian, h) // a Buffer gives no errors
	binary.Write(&w, binary.LittleEndian, c.Times)
	if h.Bytes {
		w.Write(pixels)
	} else {
		binary.Write(&w, binary.LittleEndian, c.Video)
	}
	return binary.LittleEndian.AppendUint32(w.Bytes(), crc32.Checksum(w.Bytes(), crc32.MakeTable(crc32.Castagnoli)))
}

// exactBytes is the bytes whose values v/255 are those of video, nil where a value is none.
func exactBytes(video []float32) []byte {
	b := make([]byte, len(video))
	for i, v := range video {
		if b[i] = byte(v*255 + .5); math.Float32bits(float32(b[i])/255) != math.Float32bits(v) {
			return nil
		}
	}
	return b
}

var errCached = errors.New("a damaged file of the cache")

func decodeCached(raw []byte, mem *memory) (c decoded, whole bool, err error) {
	var h cachedHead
	if len(raw) < binary.Size(h)+4 {
		return c, false, errCached
	}
	body, sum := raw[:len(raw)-4], binary.LittleEndian.Uint32(raw[len(raw)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return c, false, errCached
	}
	r := bytes.NewReader(body)
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil || string(h.Magic[:]) != cacheMagic {
		return c, false, errCached
	}
	width := uint64(4)
	if h.Bytes {
		width = 1
	}
	values := uint64(h.T) * uint64(h.H) * uint64(h.W) * uint64(h.C)
	if values < 1 || values > maxClipValues || uint64(r.Len()) != 8*uint64(h.Times)+width*values || h.Times != 0 && h.Times != h.T {
		return c, false, errCached
	}
	c.T, c.H, c.W, c.C = int(h.T), int(h.H), int(h.W), int(h.C)
	if h.Times > 0 {
		c.Times = make([]float64, h.Times)
		if err := binary.Read(r, binary.LittleEndian, c.Times); err != nil {
			return decoded{}, false, errCached
		}
	}
	if h.Bytes {
		c.bytes = body[len(body)-int(values):]
		return c, h.Whole, nil
	}
	c.Video = mem.forFloats(int(values))
	if err := binary.Read(r, binary.LittleEndian, c.Video); err != nil {
		return decoded{}, false, errCached
	}
	return c, h.Whole, nil
}

// hashedPart is the number of bytes at each end of a file that contentHash covers.
const hashedPart = 64 << 10

// contentHash is SHA-256 over the first and the last 64 KiB and the size of a file, or of the
// part of it from off on, in hexadecimal. It tells files apart without reading films of hours.
func contentHash(file io.ReaderAt, off, size int64) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", size)
	head := min(size, hashedPart)
	tail := min(size-head, hashedPart)
	buffer := make([]byte, head)
	for _, part := range [][2]int64{{off, head}, {off + size - tail, tail}} {
		if n, err := file.ReadAt(buffer[:part[1]], part[0]); int64(n) != part[1] {
			return "", errors.Join(err, io.ErrUnexpectedEOF)
		}
		h.Write(buffer[:part[1]])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
