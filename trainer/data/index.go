package data

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"magvit/trainer/atomicfile"
)

// Index holds the timelines of films, so that they are scanned once. An entry counts
// while its file has the size and time of modification that it had. The zero value
// is empty; all methods are safe for concurrent use, and on nil.
type Index struct {
	mu      sync.Mutex
	films   map[indexKey]*indexed
	changed bool
}

// indexKey is a file, or a part of one that begins at an offset.
type indexKey struct {
	path string
	off  int64
}

type indexed struct {
	Path  string `json:"path"` // absolute
	Off   int64  `json:"off,omitempty"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"`           // nanoseconds since 1970
	Hash  string `json:"hash,omitempty"`  // contentHash: the size, and the first and last 64 KiB
	Label string `json:"label,omitempty"` // the class that the set gives it, for who reads the file; not read
	*timeline
	checked bool // against the file, in this process
}

// indexKind is the usual extension of an index file.
const indexKind = ".index"

// indexFormat begins an index file.
const indexFormat = `{"magvit_set_index":1}`

// ReadIndex reads an index file. One that does not exist is empty.
func ReadIndex(path string) (*Index, error) {
	x := &Index{films: map[indexKey]*indexed{}}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := x.parse(bufio.NewReaderSize(f, 1<<20), path); err != nil {
		return nil, err
	}
	return x, nil
}

// parse reads the lines of an index on all cores.
func (x *Index) parse(r *bufio.Reader, path string) error {
	type lines struct {
		first int // line number
		text  [][]byte
	}
	const chunk = 512
	jobs := make(chan lines)
	var bad error // of the first damaged line
	badLine := math.MaxInt
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for l := range jobs {
				entries := make([]*indexed, 0, len(l.text))
				for k, line := range l.text {
					e := &indexed{timeline: &timeline{}}
					if err := json.Unmarshal(line, e); err != nil || !e.timeline.legal() {
						x.mu.Lock()
						if n := l.first + k; n < badLine {
							badLine, bad = n, badf("%s:%d: damaged; remove the file, it is made again", path, n)
						}
						x.mu.Unlock()
						break
					}
					entries = append(entries, e)
				}
				x.mu.Lock()
				for _, e := range entries {
					x.films[indexKey{e.Path, e.Off}] = e
				}
				x.mu.Unlock()
			}
		})
	}
	next := lines{first: 2}
	var failed error
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			failed = err
			break
		}
		if n == 1 && len(line) > 0 && string(bytes.TrimSpace(line)) != indexFormat {
			failed = badf("%s: not an index of a set; magvit index writes one", path)
			break
		}
		if n > 1 && len(line) > 0 {
			next.text = append(next.text, line)
		}
		if len(next.text) == chunk || ended {
			jobs <- next
			next = lines{first: n + 1}
		}
		if ended {
			break
		}
	}
	close(jobs)
	group.Wait()
	if failed != nil {
		return failed
	}
	return bad
}

func (t *timeline) legal() bool {
	if t.N < 1 || t.N > maxFilmFrames || t.Times != nil && len(t.Times) != t.N || t.Width < 0 || t.Height < 0 || !(t.Period >= 0) {
		return false
	}
	for k, at := range t.KeyAt {
		if at < 0 || at >= t.N || k > 0 && at < t.KeyAt[k-1] {
			return false
		}
	}
	for k := 1; k < len(t.Times); k++ {
		if t.Times[k] < t.Times[k-1] {
			return false
		}
	}
	return true
}

// Write writes the index to a file, atomically, if it has changed since it was read.
func (x *Index) Write(path string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.changed {
		return nil
	}
	err := atomicfile.Write(path, x.print)
	if err == nil {
		x.changed = false
	}
	return err
}

// print writes the lines of an index. The caller holds the lock.
func (x *Index) print(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, indexFormat)
	keys := make([]indexKey, 0, len(x.films))
	for k := range x.films {
		keys = append(keys, k)
	}
	sortKeys(keys)
	for _, k := range keys {
		line, err := json.Marshal(x.films[k])
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return b.Flush()
}

// Bytes are those of an index file.
func (x *Index) Bytes() ([]byte, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var b bytes.Buffer
	err := x.print(&b)
	return b.Bytes(), err
}

// Merge adds the films of another index, given by its Bytes.
func (x *Index) Merge(file []byte) error {
	before := x.Len()
	if err := x.parse(bufio.NewReader(bytes.NewReader(file)), "index"); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changed = x.changed || len(x.films) > before
	return nil
}

// Len is the number of films in the index.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.films)
}

// find returns the timeline of a film, nil if it is unknown or the file has changed.
func (x *Index) find(path string, m *fileMore) *timeline {
	if x == nil {
		return nil
	}
	key := keyOf(path, m)
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.films[key]
	if e == nil {
		return nil
	}
	if !e.checked {
		st, err := os.Stat(path)
		if err != nil || st.Size() != e.Size || st.ModTime().UnixNano() != e.MTime {
			delete(x.films, key)
			return nil
		}
		e.checked = true
	}
	return e.timeline
}

func (x *Index) put(path string, m *fileMore, t *timeline, label string) {
	if x == nil {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return
	}
	off, size := int64(0), st.Size()
	if m != nil && m.size > 0 {
		off, size = m.off, m.size
	}
	hash, err := contentHash(file, off, size)
	if err != nil {
		return
	}
	key := keyOf(path, m)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.films == nil {
		x.films = map[indexKey]*indexed{}
	}
	x.films[key] = &indexed{Path: key.path, Off: key.off, Size: st.Size(), MTime: st.ModTime().UnixNano(), Hash: hash, Label: label, timeline: t, checked: true}
	x.changed = true
}

func keyOf(path string, m *fileMore) indexKey {
	k := indexKey{path: absolute(path)}
	if m != nil && m.size > 0 {
		k.off = m.off
	}
	return k
}

// Scan fills the index with the films of src, in parallel: with every of-th one, from number
// part on, where of processes divide them. done is called after each with the number of films
// scanned. Unreadable ones are returned.
func Scan(ctx context.Context, src Source, part, of, workers int, done func(n, of int)) ([]*ClipError, error) {
	j, ok := src.(*joined)
	if !ok {
		return nil, nil
	}
	var films []int
	var f *files
	for _, p := range j.parts {
		if s, ok := p.(*files); ok {
			f = s
			for i := range s.clips {
				if isFilm(s.kind(i)) {
					films = append(films, i)
				}
			}
		}
	}
	mine := films[:0]
	for k, i := range films {
		if k%of == part {
			mine = append(mine, i)
		}
	}
	films = mine
	var mu sync.Mutex
	var bad []*ClipError
	var final error
	n := 0
	jobs := make(chan int)
	var group sync.WaitGroup
	for range max(workers, 1) {
		group.Go(func() {
			for i := range jobs {
				_, err := f.timeline(ctx, i)
				var unreadable *ClipError
				mu.Lock()
				switch {
				case errors.As(err, &unreadable):
					bad = append(bad, unreadable)
				case err != nil:
					final = err
				}
				n++
				if done != nil {
					done(n, len(films))
				}
				mu.Unlock()
			}
		})
	}
	for _, i := range films {
		if ctx.Err() != nil {
			break
		}
		jobs <- i
	}
	close(jobs)
	group.Wait()
	return bad, errors.Join(final, ctx.Err())
}

func sortKeys(keys []indexKey) {
	slices.SortFunc(keys, func(a, b indexKey) int { return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(a.off, b.off)) })
}
