package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/usage"
)

// Options of Open; the zero value is fine.
type Options struct {
	Memory  int64  // bytes of inflated arrays to hold in memory instead of temporary files; 0: 1 GiB
	Cache   int64  // bytes of decoded video files, GIFs and frame folders to keep; 0: 512 MiB, negative: none
	TempDir string // where arrays are inflated to; "": the system's
}

// Open lists the clips of paths, each a file, a folder or a glob. A folder is
// searched through: .npz and .npy hold many clips, a video file or GIF is one
// clip, so is a folder of PNG or JPEG. The name of the sub-folder that a clip
// lies in is its label. Values of arrays are checked here; video files, GIFs and
// frames only when they are read.
// Errors that the paths or files cause are usage.Error.
func Open(ctx context.Context, paths []string, opt Options) (Source, error) {
	if len(paths) == 0 {
		return nil, badf("no data: give a file (.npz, .npy, %s), a folder or a glob", strings.Join(videoKinds, ", "))
	}
	if opt.Memory == 0 {
		opt.Memory = 1 << 30
	}
	o := opener{ctx: ctx, opt: opt, files: &files{}}
	err := o.open(paths)
	var parts []Source
	for _, a := range o.arrays {
		parts = append(parts, a)
	}
	if err == nil && len(o.files.clips) > 0 {
		err = o.files.finish(opt)
		parts = append(parts, o.files)
	}
	all := join(parts, o.problems)
	if err == nil && all.Len() == 0 {
		err = badf("no clips in %s; wanted: .npz or .npy arrays, video files (%s), or folders of .png or .jpg frames",
			strings.Join(paths, ", "), strings.Join(videoKinds, ", "))
	}
	if err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

var (
	videoKinds = []string{".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif"}
	imageKinds = []string{".png", ".jpg", ".jpeg"}
	arrayKinds = []string{".npz", ".npy"}
)

func kindOf(name string) string { return strings.ToLower(filepath.Ext(name)) }

type opener struct {
	ctx      context.Context
	opt      Options
	arrays   []*arrays
	files    *files
	problems []string
}

func (o *opener) open(paths []string) error {
	for _, p := range paths {
		found := []string{p}
		if _, err := os.Stat(p); err != nil {
			if found, _ = filepath.Glob(p); len(found) == 0 {
				if strings.ContainsAny(p, "*?[") && errors.Is(err, fs.ErrNotExist) {
					return badf("%s: the pattern matches no file", p)
				}
				return usage.Wrap(err)
			}
		}
		for _, f := range found {
			if err := o.one(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// one opens a path that the user named.
func (o *opener) one(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return usage.Wrap(err)
	}
	if st.IsDir() && isRun(path) {
		return badf("%s: the directory of a training run, not clips; its samples are made by a model", path)
	}
	if st.IsDir() {
		root := o.files.root(filepath.Clean(path))
		return o.folder(root, "")
	}
	kind := kindOf(path)
	switch {
	case slices.Contains(arrayKinds, kind):
		return o.array(path)
	case slices.Contains(videoKinds, kind):
		o.files.add(o.files.root(filepath.Dir(path)), filepath.Base(path), "")
		return nil
	}
	return badf("%s: a file of an unknown kind; legal: %s, %s, or a folder", path, strings.Join(arrayKinds, ", "), strings.Join(videoKinds, ", "))
}

func (o *opener) array(path string) error {
	open := func() (*arrays, error) { return openNPZ(o.ctx, path, o.opt) }
	if kindOf(path) == ".npy" {
		open = func() (*arrays, error) { return openNPY(o.ctx, path) }
	}
	a, err := open()
	if err == nil {
		o.arrays = append(o.arrays, a)
		o.opt.Memory -= a.inMemory() // all shards share it
	}
	return err
}

// folder searches a folder below a root; nothing is opened but arrays.
func (o *opener) folder(root int, dir string) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	at := filepath.Join(o.files.roots[root], dir)
	entries, err := os.ReadDir(at)
	if err != nil {
		return usage.Wrap(err)
	}
	if isRun(at) {
		o.problems = append(o.problems, at+": the directory of a training run; its samples are left out")
		return nil
	}
	images, clips := 0, 0
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			st, err := os.Stat(filepath.Join(at, name))
			if err != nil || st.IsDir() { // a linked folder may lead round in a circle
				o.problems = append(o.problems, filepath.Join(at, name)+": a link that is not followed")
				continue
			}
			mode = st.Mode().Type()
		}
		switch kind := kindOf(name); {
		case mode.IsDir():
			err = o.folder(root, filepath.Join(dir, name))
		case !mode.IsRegular():
		case slices.Contains(arrayKinds, kind):
			err, clips = o.array(filepath.Join(at, name)), clips+1
		case slices.Contains(videoKinds, kind):
			o.files.add(root, filepath.Join(dir, name), className(dir))
			clips++
		case slices.Contains(imageKinds, kind):
			images++
		}
		if err != nil {
			return err
		}
	}
	switch {
	case images > 0 && clips > 0:
		o.problems = append(o.problems, fmt.Sprintf("%s: %d images beside video files are ignored; frames of a clip belong in a folder of their own", at, images))
	case images > 0:
		// The slash tells a folder "clip.gif/" from a file.
		o.files.add(root, dir+"/", className(filepath.Dir(dir)))
	}
	return nil
}

// isRun reports whether a folder is the directory of a training run.
func isRun(dir string) bool {
	config, err := os.Stat(filepath.Join(dir, "config.yaml"))
	if err != nil || !config.Mode().IsRegular() {
		return false
	}
	checkpoints, err := os.Stat(filepath.Join(dir, "checkpoints"))
	return err == nil && checkpoints.IsDir()
}

// className is the class of what lies in a folder below the one that was opened:
// the folder's name, or "" for the opened one.
func className(dir string) string {
	if dir == "" || dir == "." {
		return ""
	}
	return filepath.Base(dir)
}

// joined is several sources as one; classes of one name are one class.
type joined struct {
	parts    []Source
	first    []int // index of each part's first clip, and the total
	labels   [][]int
	classes  []string
	problems []string
}

func join(parts []Source, problems []string) *joined {
	j := &joined{parts: parts, first: []int{0}, problems: problems}
	for _, p := range parts {
		j.first = append(j.first, j.first[len(j.first)-1]+p.Len())
		for _, c := range p.Classes() {
			if !slices.Contains(j.classes, c) {
				j.classes = append(j.classes, c)
			}
		}
		j.problems = append(j.problems, p.Problems()...)
	}
	if len(parts) > 1 { // one part keeps its numbering
		slices.SortFunc(j.classes, natural)
	}
	for _, p := range parts {
		var to []int
		for _, c := range p.Classes() {
			to = append(to, slices.Index(j.classes, c))
		}
		j.labels = append(j.labels, to)
	}
	return j
}

// at finds the part that clip i is in, and its index there.
func (j *joined) at(i int) (part, k int) {
	part, ok := slices.BinarySearch(j.first, i)
	for ok && part+1 < len(j.first) && j.first[part+1] == i { // parts without clips
		part++
	}
	if !ok {
		part--
	}
	return part, i - j.first[part]
}

func (j *joined) Len() int { return j.first[len(j.first)-1] }

func (j *joined) Name(i int) string {
	p, k := j.at(i)
	return j.parts[p].Name(k)
}

func (j *joined) Label(i int) int {
	p, k := j.at(i)
	return j.relabel(p, j.parts[p].Label(k))
}

func (j *joined) relabel(part, label int) int {
	if label < 0 {
		return -1
	}
	return j.labels[part][label]
}

func (j *joined) Classes() []string  { return j.classes }
func (j *joined) Problems() []string { return j.problems }

func (j *joined) Read(ctx context.Context, i int) (Clip, error) { return j.readInto(ctx, i, nil) }

func (j *joined) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	p, k := j.at(i)
	c, err := readInto(ctx, j.parts[p], k, video)
	if err != nil {
		return Clip{}, err
	}
	c.Label = j.relabel(p, c.Label)
	return c, nil
}

func (j *joined) Close() error {
	var err error
	for _, p := range j.parts {
		err = errors.Join(err, p.Close())
	}
	return err
}

// bufferReader is a Source that can decode into the caller's memory.
type bufferReader interface {
	readInto(ctx context.Context, i int, video []float32) (Clip, error)
}

// readInto reads clip i of any Source, into video where its capacity suffices. On an
// error the clip is empty.
func readInto(ctx context.Context, src Source, i int, video []float32) (Clip, error) {
	var c Clip
	var err error
	if r, ok := src.(bufferReader); ok {
		c, err = r.readInto(ctx, i, video)
	} else {
		c, err = src.Read(ctx, i)
	}
	if e := ctx.Err(); e != nil {
		return Clip{}, e // a read that was cancelled says nothing about the clip
	}
	if err != nil {
		return Clip{}, err
	}
	if n := c.T * c.H * c.W * c.C; n < 1 || len(c.Video) != n {
		return Clip{}, &ClipError{c.Name, fmt.Errorf("%d values in a clip of %d frames of %dx%dx%d", len(c.Video), c.T, c.H, c.W, c.C)}
	}
	return c, nil
}

// natural compares names so that frame 2 comes before frame 10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if len(n) != len(m) {
				return len(n) - len(m)
			}
			if c := strings.Compare(n, m); c != 0 {
				return c
			}
			if x != y { // the same number: fewer zeros in front come first
				return x - y
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is how many digits s starts with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
