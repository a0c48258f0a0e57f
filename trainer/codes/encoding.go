package codes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/atomicfile"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Formats are those of a folder's shards.
var Formats = []string{"npy", "tar"}

// Encoding writes the codes of clips into a folder, a shard at a time. A shard is a function of the settings and of its
// clips, so that several jobs that share them, or one that was interrupted and begun again, make the same files.
type Encoding struct {
	Dir      string
	Format   string // one of Formats
	Header   Header // of the codes; Grid and Codebooks are set
	Source   data.Source
	Indices  []int       // chosen clips of the source
	Config   data.Config // how they are read; resolved
	PerShard int         // clips of the source in a shard
	Job, Of  int         // this job makes the shards whose number is Job modulo Of
	Vectors  []float32   // of a learned codebook, or nil
	Batch    int         // clips that Encode gets at a time
	Log      *slog.Logger

	Encode func(*data.Batch) ([]int32, error)
	Rate   func(i int) (float64, error) // frames a second of clip i of the source; 0: unknown
}

// Result is what an Encoding did.
type Result struct {
	Clips, LeftOut int  // of this job's shards
	Kept           int  // shards that were there
	Whole          bool // all shards of all jobs are there, and the index lists them
}

// Run makes the shards of this job that are not there, and the index once those of all jobs are. done is called after each
// shard with the number of this job's clips so far and in all. A folder that is removed or replaced meanwhile is an error.
func (e *Encoding) Run(ctx context.Context, done func(n, of int)) (r Result, err error) {
	folder, err := atomicfile.OpenFolder(e.Dir)
	if err != nil {
		return r, err
	}
	defer folder.Close()
	settings := e.settings()
	if x, err := readIndex(e.Dir); err == nil && x.Settings != settings {
		return r, usage.Errorf("%s was encoded otherwise (%s; this is %s): choose another folder, or remove it", e.Dir, x.Settings, settings)
	}
	var mine, of int
	for k := range e.shards() {
		if k%e.Of == e.Job {
			of += len(e.clips(k))
		}
	}
	for k := range e.shards() {
		if k%e.Of != e.Job {
			continue
		}
		m, kept, err := e.shard(ctx, k, settings)
		if gone := folder.Check(); gone != nil {
			return r, gone
		}
		if err != nil {
			return r, err
		}
		if kept {
			r.Kept++
		}
		r.Clips, r.LeftOut = r.Clips+len(m.Clips.Names), r.LeftOut+len(m.LeftOut)
		mine += len(e.clips(k))
		done(mine, of)
	}
	r.Whole, err = e.index(settings)
	return r, err
}

// shards is the number of shards of all jobs.
func (e *Encoding) shards() int { return (len(e.Indices) + e.PerShard - 1) / e.PerShard }

// clips are the chosen clips of shard k.
func (e *Encoding) clips(k int) []int {
	return e.Indices[k*e.PerShard : min((k+1)*e.PerShard, len(e.Indices))]
}

func (e *Encoding) file(k int) string {
	return filepath.Join(e.Dir, fmt.Sprintf("%06d.%s", k, e.Format))
}

// settings is a text of all that a shard's content follows from, besides the pixels.
func (e *Encoding) settings() string {
	names := sha256.New()
	for _, i := range e.Indices {
		fmt.Fprintf(names, "%q %d\n", e.Source.Name(i), e.Source.Label(i))
	}
	c, h := e.Config, e.Header
	return fmt.Sprintf("%d clips (names %.12s), %d a shard, frames %d, size %dx%dx%d, fps %g, stride %d, windows %q, fit %q, tokenizer %.12s, step %d, factors %v, format %s",
		len(e.Indices), hex.EncodeToString(names.Sum(nil)), e.PerShard, c.Frames, c.Height, c.Width, c.Channels, c.FPS, c.Stride, c.Windows, c.Fit, h.Tokenizer, h.Step, h.Factors, e.Format)
}

// shard makes shard k, or keeps it if it is whole and was made with the same settings.
func (e *Encoding) shard(ctx context.Context, k int, settings string) (m sidecar, kept bool, err error) {
	path := e.file(k)
	if err := e.clean(path); err != nil {
		return m, false, err
	}
	m, err = readSidecar(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return m, false, err
	case m.Settings != settings:
		return m, false, usage.Errorf("%s was encoded otherwise (%s; this is %s): choose another folder, or remove it", path, m.Settings, settings)
	case m.SHA256 == "":
		return m, true, nil
	default:
		if found, err := hashOf(path); err == nil && found == m.SHA256 {
			return m, true, nil
		}
		e.Log.Warn("shard is damaged and is encoded again: " + path)
	}
	m, err = e.make(ctx, k, settings)
	return m, false, err
}

// clean removes temporary files of a shard that a killed process left. Those of other jobs have other names.
func (e *Encoding) clean(path string) error {
	for _, name := range []string{path, sidecarName(path)} {
		for _, l := range atomicfile.Left(e.Dir, filepath.Base(name)) {
			if err := os.Remove(l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Encoding) make(ctx context.Context, k int, settings string) (m sidecar, err error) {
	b, skipped, err := Gather(ctx, e.Source, e.clips(k), e.Config, e.Batch, e.Encode, e.Rate)
	if err != nil {
		return m, err
	}
	m = sidecar{Settings: settings, Clips: b.Clips}
	for _, s := range skipped {
		e.Log.Warn("clip left out: " + s.Error())
		m.LeftOut = append(m.LeftOut, s.Name)
	}
	path := e.file(k)
	if len(b.Names) > 0 {
		raw, err := e.Header.content(e.Format, k, b)
		if err != nil {
			return m, err
		}
		if err := atomicfile.WriteBytes(path, raw); err != nil {
			return m, err
		}
		sum := sha256.Sum256(raw)
		m.SHA256 = hex.EncodeToString(sum[:])
	}
	return m, writeJSON(sidecarName(path), m)
}

// Gather encodes clips of a source into memory. Clips that cannot be read are left out and returned.
func Gather(ctx context.Context, src data.Source, indices []int, cfg data.Config, batch int, encode func(*data.Batch) ([]int32, error),
	rate func(i int) (float64, error)) (b Block, skipped []*data.ClipError, err error) {
	skipped, err = data.Each(ctx, src, indices, cfg, batch, func(d *data.Batch) error {
		codes, err := encode(d)
		if err == nil {
			err = b.Add(d, codes, rate)
		}
		return errors.Join(err, ctx.Err())
	})
	b.Labels = b.known()
	return b, skipped, err
}

// Add appends the clips of a batch, with their codes and rate's frames a second of clip i.
func (b *Block) Add(d *data.Batch, codes []int32, rate func(i int) (float64, error)) error {
	per := len(codes) / d.N
	for n, i := range d.Index {
		fps, err := rate(i)
		if err != nil {
			return err
		}
		b.Codes = append(b.Codes, codes[n*per:][:per]...)
		b.Names, b.Labels, b.Frames = append(b.Names, d.Names[n]), append(b.Labels, int64(d.Labels[n])), append(b.Frames, int32(d.Frames[n]))
		b.FPS, b.FrameRange = append(b.FPS, float32(fps)), append(b.FrameRange, [2]int32{int32(d.Span[n][0]), int32(d.Span[n][1])})
	}
	return nil
}

// known are the labels, nil if no clip has one.
func (b *Block) known() []int64 {
	if slices.ContainsFunc(b.Labels, func(l int64) bool { return l >= 0 }) {
		return b.Labels
	}
	return nil
}

// index writes the index if all shards are there.
func (e *Encoding) index(settings string) (whole bool, err error) {
	x := index{Format: Format, Version: Version, Settings: settings, Header: e.Header}
	for k := range e.shards() {
		path := e.file(k)
		m, err := readSidecar(path)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if m.Settings != settings {
			return false, usage.Errorf("%s was encoded otherwise (%s; this is %s): all jobs need the same arguments but --shard", path, m.Settings, settings)
		}
		x.LeftOut += len(m.LeftOut)
		if n := len(m.Clips.Names); n > 0 {
			x.Clips += n
			x.Shards = append(x.Shards, shard{filepath.Base(path), n, m.SHA256})
		}
	}
	if x.Clips == 0 {
		return false, usage.Errorf("none of %d clips can be read; there is no index", len(e.Indices))
	}
	if e.Vectors != nil {
		x.Vectors = vectorsName
		a := data.Array{Shape: e.Header.vectorShape(e.Vectors), Data: e.Vectors}
		if err := atomicfile.Write(filepath.Join(e.Dir, vectorsName), func(w io.Writer) error { _, err := w.Write(data.AppendNPY(nil, a)); return err }); err != nil {
			return false, err
		}
	}
	return true, writeJSON(filepath.Join(e.Dir, IndexName), x)
}

// CheckFolder refuses a folder that holds something else than the shards of an encoding.
func CheckFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return usage.Wrap(err)
	}
	for _, d := range entries {
		name := d.Name()
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".npy"), ".tar")
		own := name == IndexName || name == vectorsName || strings.HasPrefix(name, atomicfile.Prefix) || len(base) >= 6 && strings.Trim(base, "0123456789") == ""
		if !own || d.IsDir() {
			return usage.Errorf("%s: %s in it is no shard of codes; name another folder", dir, name)
		}
	}
	return nil
}

// IsFolder reports whether a folder holds shards of codes, the first of them whole, and nothing else.
func IsFolder(dir string) bool {
	m, err := readSidecar(filepath.Join(dir, "000000.npy"))
	return err == nil && m.Settings != "" && CheckFolder(dir) == nil
}
