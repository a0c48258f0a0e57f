package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// Options of Open; the zero value is fine.
type Options struct {
	Memory  int64         // bytes of inflated arrays to hold in memory instead of temporary files; 0: 1 GiB
	Cache   int64         // bytes of decoded video files, GIFs and frame folders to cache; 0: 512 MiB, negative: none
	TempDir string        // where arrays are inflated to; "": the system's
	Index   *Index        // of films, used and filled; nil: films are scanned when they are first read
	Stall   time.Duration // largest time without a frame after which ffmpeg is ended; 0: 60 s
	Val     []string      // paths of the held-out clips, besides paths; all others are for training
	Images  bool          // each image of a folder is a clip of one frame, of the folder's class; false: a folder of images is a clip
}

// Open lists the clips of paths, each a file, a folder or a glob; {000..099} in a path
// stands for numbers. A folder is searched through: .npz and .npy hold many clips, a
// video file or animation is one clip, so is a folder of images. The name of the
// sub-folder that contains a clip is its label. Files that a glob finds in several folders
// are named and labelled as in the folder where its first wildcard is. A tar archive is a shard in the naming
// of webdataset; a .csv, .jsonl or .txt file that is named itself is a list of clips.
// Values of arrays are checked here; the others only when they are read.
// Errors that the paths or files cause are usage.Error.
func Open(ctx context.Context, paths []string, opt Options) (Source, error) {
	if len(paths) == 0 {
		return nil, badf("no data: give a file (.npz, .npy, .tar, a list or a video), a folder or a glob")
	}
	if opt.Memory == 0 {
		opt.Memory = 1 << 30
	}
	o := opener{ctx: ctx, opt: opt, files: &files{index: opt.Index}, left: map[string]leftOut{}}
	err := o.open(paths)
	if err == nil && len(opt.Val) > 0 {
		err = o.openVal()
	}
	if err == nil {
		o.dropPacked()
		o.tellShared()
	}
	var parts []Source
	for _, a := range o.arrays {
		parts = append(parts, a)
	}
	if err == nil && len(o.files.clips) > 0 {
		err = o.files.finish(opt)
		parts = append(parts, o.files)
	}
	o.tellLeft()
	o.tellNames(parts)
	all := join(parts, o.problems)
	if err == nil && all.Len() == 0 {
		err = badf("no clips in %s; wanted: .npz or .npy arrays, video files, animations, .tar shards, or folders of images%s",
			strings.Join(paths, ", "), strings.Join(append([]string{""}, o.problems...), "; "))
	}
	if err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

var (
	imageKinds  = []string{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
	arrayKinds  = []string{".npz", ".npy"}
	moveKinds   = []string{".gif", ".apng"} // animations that are read without ffmpeg
	packedKinds = []string{".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".zst", ".lz4", ".zip", ".7z", ".rar"}
	listKinds   = []string{".csv", ".tsv", ".jsonl", ".txt"}
)

// filmKinds are the extensions of what ffmpeg reads as video.
var filmKinds = func() map[string]bool {
	m := map[string]bool{}
	for k := range strings.FieldsSeq(`.mp4 .m4v .mov .qt .avi .divx .mkv .webm .mpg .mpeg .mpe .m1v .m2v .mpv .ts .m2t .m2ts .mts .vob
		.wmv .asf .wtv .flv .f4v .ogv .ogg .ogm .3gp .3g2 .mxf .gxf .rm .rmvb .dv .dif .y4m .h264 .264 .avc .h265 .265 .hevc .av1 .obu
		.ivf .nut .mjpeg .mjpg .mj2 .vc1 .amv .roq .bik .nsv .swf .fli .flc .cdxl .mve .ivr .yuv4mpeg .avif .heic .heif`) {
		m[k] = true
	}
	return m
}()

func isFilm(kind string) bool { return filmKinds[kind] }

func kindOf(name string) string { return strings.ToLower(filepath.Ext(name)) }

type opener struct {
	ctx      context.Context
	opt      Options
	arrays   []*arrays
	files    *files
	problems []string
	left     map[string]leftOut // by kind
	part     part               // of the clips that are opened
	nested   bool               // they are in a folder below one that was opened
}

// leftOut counts files of a kind that is not read.
type leftOut struct {
	n     int
	first string
}

func (o *opener) leave(path string) {
	kind := kindOf(path)
	if kind == "" {
		kind = "without an extension"
	}
	l := o.left[kind]
	if l.n++; l.n == 1 {
		l.first = path
	}
	o.left[kind] = l
}

// tellLeft names the files that are not read, counted by kind.
func (o *opener) tellLeft() {
	total := 0
	var text []string
	for _, kind := range slices.Sorted(maps.Keys(o.left)) {
		l := o.left[kind]
		total += l.n
		why := ""
		if _, err := os.Stat(l.first); err == nil && kind != ".txt" && slices.Contains(listKinds, kind) { // no member of an archive
			why = ", which is read as a list where --data names it"
		}
		if slices.Contains([]string{".ckpt", ".pt", ".pth", ".safetensors"}, kind) {
			why = ", which magvit inspect shows where it is named alone"
		}
		text = append(text, fmt.Sprintf("%d %s (%s%s)", l.n, kind, l.first, why))
	}
	if total > 0 {
		o.problems = append(o.problems, fmt.Sprintf("%s of no kind that is read left out: %s", metrics.Plural(total, "file"), strings.Join(text, ", ")))
	}
}

// openVal opens the held-out clips; all others are for training.
func (o *opener) openVal() error {
	for i := range o.files.clips {
		o.files.clips[i].part = partTrain
	}
	for _, a := range o.arrays {
		a.part = partTrain
	}
	o.files.parts = true
	o.part = partVal
	first, clips := len(o.arrays), len(o.files.clips)
	if err := o.open(o.opt.Val); err != nil {
		return err
	}
	o.dropHeldOut(first, clips)
	return nil
}

// dropHeldOut leaves those of the first arrays and clips out that are among the later ones, which are held out: --val may
// name a folder below --data.
func (o *opener) dropHeldOut(first, clips int) {
	held := map[string]bool{}
	for _, a := range o.arrays[first:] {
		held[absolute(a.path)] = true
	}
	for i := clips; i < len(o.files.clips); i++ {
		held[o.files.identity(i)] = true
	}
	dropped := 0
	o.arrays = append(slices.DeleteFunc(slices.Clone(o.arrays[:first]), func(a *arrays) bool {
		if held[absolute(a.path)] {
			dropped += a.Len()
			a.Close()
			return true
		}
		return false
	}), o.arrays[first:]...)
	dropped += o.files.drop(func(i int) bool { return i < clips && held[o.files.identity(i)] })
	if dropped > 0 {
		o.problems = append(o.problems, fmt.Sprintf("%d clips of --data are among those of --val: they are held out, and not trained on", dropped))
	}
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (o *opener) open(paths []string) error {
	for _, p := range paths {
		if p == "" {
			return badf("a path is empty; wanted: a file, a folder or a pattern")
		}
		expanded, err := expand(p)
		if err != nil {
			return err
		}
		for _, p := range expanded {
			found, root := []string{p}, ""
			if _, err := os.Stat(p); err != nil {
				found, _ = filepath.Glob(p)
				if root = fixedFolder(p); len(found) == 0 {
					if strings.ContainsAny(p, "*?[") && errors.Is(err, fs.ErrNotExist) {
						return badf("%s: the pattern matches no file", p)
					}
					return usage.Wrap(err)
				}
			}
			for _, f := range found {
				if err := o.one(f, root); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var braces = regexp.MustCompile(`\{(\d+)\.\.(\d+)\}`)

// expand writes out {000..099} in a path that does not exist as it is.
func expand(path string) ([]string, error) {
	m := braces.FindStringSubmatchIndex(path)
	if _, err := os.Stat(path); m == nil || err == nil {
		return []string{path}, nil
	}
	low, high := path[m[2]:m[3]], path[m[4]:m[5]]
	a, errA := strconv.Atoi(low)
	b, errB := strconv.Atoi(high)
	if errA != nil || errB != nil || b < a || b-a > 1<<20 {
		return nil, badf("%s: {%s..%s}; legal: two numbers, the smaller one first", path, low, high)
	}
	var all []string
	for n := a; n <= b; n++ {
		rest, err := expand(fmt.Sprintf("%s%0*d%s", path[:m[0]], len(low), n, path[m[1]:]))
		if err != nil {
			return nil, err
		}
		all = append(all, rest...)
	}
	return all, nil
}

// fixedFolder is the folder of a pattern that stands before its first wildcard.
func fixedFolder(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		pattern = pattern[:i]
	}
	return filepath.Dir(pattern + "x")
}

// one opens a path that the user named, or that was found by a pattern in the folder root.
func (o *opener) one(path, root string) error {
	st, err := os.Stat(path)
	if err != nil {
		return usage.Wrap(err)
	}
	if st.IsDir() && IsRun(path) {
		return badf("%s: the directory of a training run, not clips; its samples are made by a model; magvit report shows the run, magvit inspect RUN/checkpoints/STEP its weights", path)
	}
	if st.IsDir() {
		path = filepath.Clean(path)
		return o.folder(o.files.root(path), "", "", "")
	}
	if !st.Mode().IsRegular() {
		return badf("%s: a pipe or device; legal: a file, which is read from several places, or a folder", path)
	}
	kind := kindOf(path)
	switch {
	case slices.Contains(arrayKinds, kind):
		return o.array(path)
	case slices.Contains(listKinds, kind):
		return o.list(path)
	case kind == ".tar":
		return o.shard(path)
	case isFilm(kind) || slices.Contains(moveKinds, kind) || slices.Contains(imageKinds, kind):
		return o.file(path, root)
	}
	if slices.Contains(packedKinds, kind) {
		return badf("%s: a compressed archive; unpack it, to a folder or a .tar: clips are read from their places in it", path)
	}
	return badf("%s: a file of an unknown kind; legal: %s, videos, animations, images, .tar, lists (%s), or a folder", path, strings.Join(arrayKinds, ", "), strings.Join(listKinds, ", "))
}

// file adds a video, an animation or an image, named below root, and labelled by the folder below root that it is in.
func (o *opener) file(path, root string) error {
	name := filepath.Base(path)
	if root == "" {
		root = filepath.Dir(path)
	} else {
		var err error
		if name, err = filepath.Rel(root, path); err != nil {
			return usage.Wrap(err)
		}
	}
	o.files.add(o.files.root(root), name, className(filepath.Dir(name)), o.part, nil)
	return nil
}

func (o *opener) array(path string) error {
	open := func() (*arrays, error) { return openNPZ(o.ctx, path, o.opt) }
	if kindOf(path) == ".npy" {
		if isCodesFolder(filepath.Dir(path)) {
			return areCodes(path)
		}
		open = func() (*arrays, error) { return openNPY(o.ctx, path) }
	}
	a, err := open()
	if err == nil {
		a.part, a.nested = o.part, o.nested
		o.arrays = append(o.arrays, a)
		o.opt.Memory -= a.inMemory() // all shards share it
	}
	return err
}

// tolerate turns the error of a file that was found in a folder, and not named by the
// user, into a problem where the file's content or permissions are the reason.
func (o *opener) tolerate(err error) error {
	if err == nil || o.ctx.Err() != nil || !errors.Is(err, usage.Error) && !errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EMFILE) {
		return err
	}
	o.problems = append(o.problems, err.Error()+": the file is left out")
	return nil
}

// tellNames names clips of the same name, which codes and metrics cannot be told apart by.
func (o *opener) tellNames(parts []Source) {
	seen := map[string]bool{} // whether it was seen again
	first, again := "", 0
	for _, p := range parts {
		for i := range p.Len() {
			name := p.Name(i)
			told, known := seen[name]
			if seen[name] = known; known && !told {
				if again++; again == 1 {
					first = name
				}
			}
		}
	}
	if again > 0 {
		is := map[bool]string{true: "is that", false: "are those"}[again == 1]
		o.problems = append(o.problems, fmt.Sprintf("%s %s of several clips (%s): name the folder above, or quote a pattern, so that names have their folders", metrics.Plural(again, "name"), is, first))
	}
}

// tellShared names clips that the data give to training and hold out, too.
func (o *opener) tellShared() {
	if !o.files.parts {
		return
	}
	held := map[string]bool{}
	isHeld := func(p part) bool { return p == partVal || p == partTest }
	for i, c := range o.files.clips {
		if isHeld(c.part) {
			held[o.files.identity(i)] = true
		}
	}
	shared, first := 0, ""
	for i, c := range o.files.clips {
		if !isHeld(c.part) && held[o.files.identity(i)] {
			if shared++; first == "" {
				first = o.files.Name(i)
			}
		}
	}
	if shared > 0 {
		o.problems = append(o.problems, fmt.Sprintf("%s for training and for validation or test, too (%s): results on them say nothing of other clips", metrics.Plural(shared, "clip"), first))
	}
}

// dropPacked leaves out the packed clips of folders below the opened ones, where there
// are other clips: those they were packed from.
func (o *opener) dropPacked() {
	nested := func(a *arrays) bool { return a.names != nil && a.nested }
	if len(o.files.clips) == 0 && !slices.ContainsFunc(o.arrays, func(a *arrays) bool { return !nested(a) }) {
		return
	}
	dropped, first := 0, ""
	o.arrays = slices.DeleteFunc(o.arrays, func(a *arrays) bool {
		if !nested(a) {
			return false
		}
		if dropped++; first == "" {
			first = filepath.Dir(a.path)
		}
		a.Close()
		return true
	})
	if dropped > 0 {
		o.problems = append(o.problems, fmt.Sprintf("%s: %d shards of packed clips are left out, next to other clips; name that folder alone to read them", first, dropped))
	}
}
