package data

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// files is the Source of video files, GIFs and frame folders, a clip each. Only
// names are held; what has been decoded is kept as bytes while there is room.
type files struct {
	roots     []string
	clips     []fileClip
	classes   []string
	classNo   map[string]int32
	ffmpeg    string
	mu        sync.Mutex
	cacheRoom int64
	cache     map[int]*pixels
	problems  []string
}

type fileClip struct {
	name  string // below the root; ends in a slash for a folder of frames
	root  int32
	label int32
}

// pixels is a decoded clip: rgb holds [T,H,W,3].
type pixels struct {
	t, h, w int
	rgb     []byte
}

// maxPixels bounds the bytes of a decoded clip, a quarter of its float32 size.
// A longer video belongs cut into clips.
const maxPixels = 1 << 28

var errTooLarge = errors.New("decodes to more than 256 MiB; cut it into shorter clips, or scale it down")

func (f *files) root(path string) int {
	if i := slices.Index(f.roots, path); i >= 0 {
		return i
	}
	f.roots = append(f.roots, path)
	return len(f.roots) - 1
}

func (f *files) add(root int, name, class string) {
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
	f.clips = append(f.clips, fileClip{name, int32(root), label})
}

// finish numbers the classes by name and looks for ffmpeg if it is needed.
func (f *files) finish(opt Options) error {
	names := slices.Clone(f.classes)
	slices.SortFunc(names, natural)
	to := make([]int32, len(names))
	for i, n := range names {
		to[f.classNo[n]] = int32(i)
	}
	for i, c := range f.clips {
		if c.label >= 0 {
			f.clips[i].label = to[c.label]
		}
	}
	f.classes, f.classNo = names, nil

	f.cache, f.cacheRoom = map[int]*pixels{}, opt.Cache
	if opt.Cache == 0 {
		f.cacheRoom = 512 << 20
	}
	for _, c := range f.clips {
		if k := kindOf(c.name); slices.Contains(videoKinds, k) && k != ".gif" {
			var err error
			if f.ffmpeg, err = exec.LookPath("ffmpeg"); err != nil {
				return badf("%s: reading video files needs ffmpeg, which is not on the PATH: install it (apt-get install ffmpeg, brew install ffmpeg), or convert the clips to .npz, .gif or folders of frames", c.name)
			}
			break
		}
	}
	return nil
}

func (f *files) Len() int           { return len(f.clips) }
func (f *files) Label(i int) int    { return int(f.clips[i].label) }
func (f *files) Classes() []string  { return f.classes }
func (f *files) Problems() []string { return f.problems }
func (f *files) Close() error       { return nil }

// Name is the path below the folder that was opened, so that moving the folder
// does not change the split.
func (f *files) Name(i int) string {
	c := f.clips[i]
	if c.name == "/" {
		return filepath.Base(f.roots[c.root])
	}
	return strings.TrimSuffix(filepath.ToSlash(c.name), "/")
}

func (f *files) Read(ctx context.Context, i int) (Clip, error) { return f.readInto(ctx, i, nil) }

func (f *files) readInto(ctx context.Context, i int, video []float32) (Clip, error) {
	p, err := f.pixels(ctx, i)
	if err != nil {
		return Clip{}, err
	}
	c := Clip{Name: f.Name(i), Label: f.Label(i), T: p.t, H: p.h, W: p.w, C: 3, Video: grown(video, len(p.rgb))}
	bytesToFloat(c.Video, p.rgb)
	return c, nil
}

// pixels decodes clip i, or finds it among those kept. The first clips that fit
// are kept for good: in a shuffled epoch any other choice hits no more often.
func (f *files) pixels(ctx context.Context, i int) (*pixels, error) {
	f.mu.Lock()
	p := f.cache[i]
	f.mu.Unlock()
	if p != nil {
		return p, nil
	}
	path := filepath.Join(f.roots[f.clips[i].root], f.clips[i].name)
	var err error
	switch k := kindOf(f.clips[i].name); {
	case k == ".gif":
		p, err = readGIF(path)
	case slices.Contains(videoKinds, k):
		p, err = readVideo(ctx, f.ffmpeg, path)
	default:
		p, err = readFrames(ctx, path)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &ClipError{f.Name(i), err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := int64(len(p.rgb)); f.cache[i] == nil && n <= f.cacheRoom {
		f.cache[i], f.cacheRoom = p, f.cacheRoom-n
	}
	return p, nil
}
