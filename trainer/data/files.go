package data

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// files is the Source of video files, pictures and folders of frames, a clip each.
// Only names are held; small decoded clips are cached as bytes up to a limit, films
// are read window by window.
type files struct {
	roots     []string
	clips     []fileClip
	more      map[int]*fileMore // what few clips have
	classes   []string
	classNo   map[string]int32
	parts     bool // some clips name their part
	ffmpeg    *ffmpeg
	index     *Index
	scalers   sync.Pool  // of *scaled
	mp4s      []*mp4Film // whose memory is not in use
	mu        sync.Mutex
	cacheRoom int64
	cache     map[int]*pixels
	films     map[int]bool   // found too large to be read whole
	stamps    map[int]string // what the pixels of a clip depend on
	states    map[int]fileState
	unlike    map[string]bool // properties of films, see unlikeShown, that problems has
	problems  []string
}

type fileClip struct {
	name  string // below the root; ends in a slash for a folder of frames
	root  int32
	label int32
	part  part
}

// fileMore is what lists and archives say of a clip.
type fileMore struct {
	start, end float64 // seconds of the film; end 0: to its end
	off, size  int64   // bytes of the file that hold the clip; size 0: all
	kind       string  // instead of the name's extension
	members    []member
}

// pixels is a decoded clip: rgb holds [T,H,W,3].
type pixels struct {
	t, h, w int
	rgb     []byte
	times   []float64 // [T] seconds, or nil
}

// maxWhole bounds the bytes of a film that is decoded whole; a larger one is read
// window by window. maxPixels bounds those of any other decoded clip.
const (
	maxWhole  = 16 << 20
	maxPixels = 1 << 28
)

var errTooLarge = errors.New("decodes to more than 256 MiB; cut it into shorter clips, or scale it down")

func (f *files) root(path string) int {
	if i := slices.Index(f.roots, path); i >= 0 {
		return i
	}
	f.roots = append(f.roots, path)
	return len(f.roots) - 1
}

func (f *files) add(root int, name, class string, p part, more *fileMore) {
	label := int32(-1)
	if class != "" {
		n, ok := f.classNo[class]
		if !ok {
			if f.classNo == nil {
				f.classNo = map[string]int32{}
			}
			n = int32(len(f.classes))
			f.classNo[class], f.classes = n, append(f.classes, class)
		}
		label = n
	}
	if more != nil {
		if f.more == nil {
			f.more = map[int]*fileMore{}
		}
		f.more[len(f.clips)] = more
	}
	f.parts = f.parts || p != ""
	f.clips = append(f.clips, fileClip{name, int32(root), label, p})
}

// identity names the file of clip i, and the part of it.
func (f *files) identity(i int) string {
	var m fileMore
	if more := f.more[i]; more != nil {
		m = *more
	}
	return fmt.Sprintf("%s %d+%d @%g-%g", absolute(f.path(i)), m.off, m.size, m.start, m.end)
}

// drop removes clips, and returns their number.
func (f *files) drop(gone func(i int) bool) int {
	kept, more := f.clips[:0:0], map[int]*fileMore{}
	for i, c := range f.clips {
		if gone(i) {
			continue
		}
		if m := f.more[i]; m != nil {
			more[len(kept)] = m
		}
		kept = append(kept, c)
	}
	n := len(f.clips) - len(kept)
	f.clips, f.more = kept, more
	return n
}

// finish numbers the classes by name and looks for ffmpeg if it is needed.
func (f *files) finish(opt Options) error {
	used := make([]bool, len(f.classes)) // a dropped clip may have been the last of its class
	for _, c := range f.clips {
		if c.label >= 0 {
			used[c.label] = true
		}
	}
	var names []string
	for i, n := range f.classes {
		if used[i] {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, natural)
	to := make([]int32, len(f.classes))
	for i, n := range names {
		to[f.classNo[n]] = int32(i)
	}
	for i, c := range f.clips {
		if c.label >= 0 {
			f.clips[i].label = to[c.label]
		}
	}
	f.classes, f.classNo = names, nil

	f.cache, f.films, f.cacheRoom = map[int]*pixels{}, map[int]bool{}, opt.Cache
	f.stamps, f.states, f.unlike = map[int]string{}, map[int]fileState{}, map[string]bool{}
	if opt.Cache == 0 {
		f.cacheRoom = 512 << 20
	}
	f.scalers.New = func() any { return &scaled{} }
	for i := range f.clips {
		if isFilm(f.kind(i)) {
			var err error
			f.ffmpeg, err = findFFmpeg(f.clips[i].name)
			if opt.Stall > 0 && err == nil {
				f.ffmpeg.stall = opt.Stall
			}
			return err
		}
	}
	return nil
}

func (f *files) Len() int          { return len(f.clips) }
func (f *files) Label(i int) int   { return int(f.clips[i].label) }
func (f *files) Part(i int) string { return string(f.clips[i].part) }
func (f *files) Classes() []string { return f.classes }
func (f *files) Problems() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.problems)
}
func (f *files) Close() error { return nil }

// kind is the extension that says how clip i is read; "/" for a folder of frames.
func (f *files) kind(i int) string {
	if m := f.more[i]; m != nil && m.kind != "" {
		return m.kind
	}
	if strings.HasSuffix(f.clips[i].name, "/") {
		return "/"
	}
	return kindOf(f.clips[i].name)
}

// Name is the path below the folder that was opened, so that moving the folder
// does not change the split.
func (f *files) Name(i int) string {
	c := f.clips[i]
	if c.name == "/" {
		return filepath.Base(f.roots[c.root])
	}
	name := strings.TrimSuffix(filepath.ToSlash(c.name), "/")
	if m := f.more[i]; m != nil && (m.start > 0 || m.end > 0) {
		name = fmt.Sprintf("%s@%g-", name, m.start)
		if m.end > 0 { // else to the end of the film
			name += fmt.Sprintf("%g", m.end)
		}
	}
	return name
}

// path is the file that holds clip i.
func (f *files) path(i int) string {
	c := f.clips[i]
	if m := f.more[i]; m != nil && m.size > 0 {
		return f.roots[c.root] // an archive
	}
	if c.name != "/" && filepath.IsAbs(c.name) {
		return c.name
	}
	return filepath.Join(f.roots[c.root], c.name)
}

// film is clip i for ffmpeg.
func (f *files) film(i int) film {
	return film{input: f.input(i), codec: f.decoder(i), unlike: func(found []string) { f.noteUnlike(i, found) }}
}

// input is clip i as ffmpeg names it.
func (f *files) input(i int) string {
	// "file:" keeps names that start with "-" or hold ":" from being read as something else.
	name := "file:" + f.path(i)
	if m := f.more[i]; m != nil && m.size > 0 {
		return fmt.Sprintf("subfile,,start,%d,end,%d,,:%s", m.off, m.off+m.size, name)
	}
	return name
}

// decoder is the decoder of film i, "" for ffmpeg's choice.
func (f *files) decoder(i int) string {
	var off int64
	if m := f.more[i]; m != nil {
		off = m.off
	}
	return alphaDecoder(f.path(i), f.kind(i), off)
}

// maxFile bounds the bytes of a compressed picture, animation or array in an archive.
const maxFile = 1 << 30
