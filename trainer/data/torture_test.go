package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"magvit/trainer/torture"
)

// bounded fails the test if f takes more than 30 seconds, or allocates more than 2 GiB.
func bounded(t *testing.T, what string, f func()) {
	t.Helper()
	began, before := time.Now(), allocated()
	f()
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("%s: took %v", what, d)
	}
	if n := allocated() - before; n > 2<<30 {
		t.Errorf("%s: %d MiB allocated", what, n>>20)
	}
}

// randomDecoder is a shell script that prints some whole frames and then does what no decoder should.
func randomDecoder(r *rand.Rand) string {
	frame := `printf 'P7\nWIDTH 512\nHEIGHT 512\nDEPTH 3\nMAXVAL 255\nENDHDR\n'; head -c 786432 /dev/zero; `
	script := ""
	if r.IntN(4) == 0 {
		script = "yes complaint | head -c 3000000 >&2; "
	}
	script += strings.Repeat(frame, r.IntN(3))
	return script + []string{
		"exec sleep 1000", "sleep 1000 & exit 0", "yes 1111111", "exec tr '\\0' 1 </dev/zero", "exec cat /dev/zero", "while " + frame + " do :; done",
		"yes complaint >&2", "kill -SEGV $$", "kill -KILL $$", "kill -PIPE $$", "echo broken film >&2; exit 1", "exit 0", "exec >&-; exec sleep 1000",
		`printf 'P7\nWIDTH 512\nHEIGHT 512\nDEPTH 3\nENDHDR\nab'`, `printf 'P7\nWIDTH 30000\nHEIGHT 30000\nDEPTH 3\nENDHDR\nab'`, `printf 'P7\nWIDTH -1\nHEIGHT 9223372036854775807\nDEPTH 4\nENDHDR\n'`,
		`printf 'P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nENDHDR\nabcdef'`, "yes '#'", "yes '0, 0, 0, 1, 5, 0xffffffff'", "yes ''",
		`printf '#tb 0: 1/25\n#dimensions 0: 9999999x9999999\n0, 0, 9223372036854775807, 1, 5, 0x0\n0, 1, -9223372036854775807, 1, 5, 0x0\n'`,
	}[r.IntN(21)]
}

// Whatever stands in for ffmpeg when films are read: each read, window and scan ends with frames or an error of the clip.
func TestTortureDecoders(t *testing.T) {
	n, r := torture.Campaign(t, 3, 42)
	read, failed := 0, 0
	for range n {
		script := randomDecoder(r)
		fake(t, script)
		src := mustOpen(t, Options{Stall: 200 * time.Millisecond}, tempFile(t, "a.mp4", []byte("x")))
		for name, f := range map[string]func(context.Context) error{
			"read":   func(ctx context.Context) error { c, err := src.Read(ctx, 0); return errors.Join(err, c.sized(err)) },
			"length": func(ctx context.Context) error { _, _, err := length(ctx, src, 0); return err },
			"window": func(ctx context.Context) error {
				w := windowing{frames: 2, stride: 1}
				c, _, err := readPart(ctx, src, 0, request{choose: func(n int, times func(int) float64) ([]int, fit) { return w.pick(nil, n, max(n-2, 0), times), fit{} }}, nil, nil)
				whole := c.clip(nil)
				return errors.Join(err, whole.sized(err))
			},
		} {
			bounded(t, name+": "+script, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := f(ctx)
				if bad := (*ClipError)(nil); err != nil && !errors.As(err, &bad) {
					t.Errorf("%s: %s: %v", name, script, err)
				}
				if err == nil {
					read++
				} else {
					failed++
				}
			})
		}
	}
	t.Logf("stand-ins for the decoder: %d; %d calls gave frames, %d an error of the clip", n, read, failed)
}

// sized is an error for a clip that was read without an error and whose parts disagree.
func (c *Clip) sized(err error) error {
	if err != nil {
		return nil
	}
	if err := (&decoded{Clip: *c}).check(); err != nil {
		return fmt.Errorf("a torn clip: %v", err)
	}
	return nil
}

// Whatever stands in for ffmpeg when a film is written: the file is there whole, or an error is, and nothing else.
func TestTortureEncoders(t *testing.T) {
	n, r := torture.Campaign(t, 8, 42)
	clip := OutputClip{Name: "a", Frames: 3, T: 3, H: 4, W: 6, C: 3, Video: make([]float32, 3*4*6*3)}
	written, failed := 0, 0
	for range n {
		read := []string{"cat > /dev/null", "cat > /dev/null", fmt.Sprintf("head -c %d > /dev/null", r.IntN(400)), ":"}[r.IntN(4)]
		write := []string{":", `echo half > "$out"`, `echo half > "$out"`, `: > "$out"`, `rm -f "$out"`, `mkdir "$out.d"`}[r.IntN(6)]
		end := []string{"exit 0", "exit 0", "exit 0", "exit 1", "exec sleep 1000", "kill -SEGV $$", "echo 'No space left on device' >&2", "yes error | head -c 5000000 >&2; exit 1", "sleep 1000 & exit 0"}[r.IntN(9)]
		script := read + "; " + write + "; " + end
		fakeFFmpeg(t, script)
		dir := t.TempDir()
		w, err := NewWriter(t.Context(), filepath.Join(dir, "x.mp4"), nil, 8, "")
		if err != nil {
			t.Fatal(err)
		}
		m := w.(*movieWriter)
		m.limit, m.finish = 200*time.Millisecond, 200*time.Millisecond
		bounded(t, script, func() {
			for k := 0; k < 300 && err == nil; k++ {
				err = w.Add(clip)
			}
			if err == nil {
				err = w.Finish()
			}
			w.Abort()
		})
		st, missing := os.Stat(filepath.Join(dir, "x.mp4"))
		switch {
		case err == nil && (missing != nil || st.Size() == 0):
			t.Errorf("%s: no error, and no file: %v", script, missing)
		case err == nil:
			written++
		default:
			if failed++; missing == nil {
				t.Errorf("%s: %v, and a file", script, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 && !strings.Contains(write, "mkdir") {
			t.Errorf("%s: left behind %v", script, left)
		}
	}
	t.Logf("stand-ins for the encoder: %d; %d files, %d errors", n, written, failed)
}

// Whatever an archive claims: reading it gives clips or an error, in bounded time and memory, and leaves no files.
func TestTortureArchives(t *testing.T) {
	n, r := torture.Campaign(t, 8, 94)
	opened, refused := 0, 0
	for i := range n {
		dir := t.TempDir()
		name, raw, what := randomArchive(t, r)
		what = fmt.Sprintf("archive %d, %s: %s", i, name, what)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		temp := filepath.Join(dir, "temp")
		if err := os.Mkdir(temp, 0o777); err != nil {
			t.Fatal(err)
		}
		bounded(t, what, func() {
			src, err := Open(t.Context(), []string{path}, Options{Memory: 1 << 16, TempDir: temp})
			if err != nil {
				refused++
				if len(err.Error()) > 4000 {
					t.Errorf("%s: an error of %d characters", what, len(err.Error()))
				}
				return
			}
			opened++
			for k := range min(src.Len(), 4) {
				if c, err := src.Read(t.Context(), k); err == nil && c.sized(nil) != nil {
					t.Errorf("%s: %v", what, c.sized(nil))
				}
				if name := src.Name(k); strings.HasPrefix(name, "/") || strings.Contains(name, "..") {
					t.Errorf("%s: clip %d is called %q", what, k, name)
				}
			}
			if err := src.Close(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
		left, _ := os.ReadDir(temp)
		all, _ := os.ReadDir(dir)
		if len(left) > 0 || len(all) != 2 {
			t.Errorf("%s: left behind %v %v", what, left, all)
		}
	}
	t.Logf("archives: %d; %d opened, %d refused", n, opened, refused)
}

// randomArchive is an .npz, .npy or .tar file with random faults, and what they are.
func randomArchive(t *testing.T, r *rand.Rand) (name string, raw []byte, what string) {
	t.Helper()
	videos := npy("|u1", []int{2, 2, 3, 4, 4}, make([]uint8, 192))
	labels := npy("<i8", []int{2}, []int64{0, 1})
	shapes := [][]int{{2, 2, 3, 4, 4}, {1 << 40, 1, 3, 1, 1}, {0, 2, 3, 4, 4}, {1, 1 << 30, 3, 1 << 15, 1 << 15}, {1 << 62, 1 << 62}, {}, {2, 2, 3, 4, 1 << 20}, {-1, 2, 3, 4, 4}}
	descrs := []string{"<f4", "|u1", "<f8", ">f4", "<U1000000", "|O", "<c16", "|V8", "<M8[ns]", "|b1", "<i8", "|S5", "<f2"}
	odd := func() []byte { // an array whose header says something else than its bytes
		return append(appendNpyHeader(nil, descrs[r.IntN(len(descrs))], shapes[r.IntN(len(shapes))]), make([]byte, r.IntN(4000))...)
	}
	members := []string{"videos.npy", "labels.npy", "classes.npy", "points_2d.npy", "trajectory_3d.npy", "equations.npy", "clip_names.npy", "clip_frames.npy", "clip_parts.npy", "../../videos.npy", "/videos.npy", "", strings.Repeat("long/", 12000) + "x", "a\x00b\n.npy"}
	damage := func(b []byte) []byte {
		switch b = bytes.Clone(b); r.IntN(4) {
		case 0:
			return b[:r.IntN(len(b)+1)]
		case 1:
			for range 1 + r.IntN(8) {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		case 2:
			at := r.IntN(len(b))
			clear(b[at:min(at+512, len(b))])
		}
		return b
	}
	switch r.IntN(4) {
	case 0:
		return "a.npy", damage(odd()), "an odd array"
	case 1:
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range 1 + r.IntN(6) {
			n := []string{"a.npy", "../../etc/x.npy", "/abs.npy", "b/0001.png", "b/0002.png", "c.cls", "c.json", "d.gif", strings.Repeat("x", 300) + ".npy"}[r.IntN(9)]
			body := [][]byte{videos, odd(), []byte("{"), []byte("cat"), {}}[r.IntN(5)]
			h := &tar.Header{Name: n, Mode: 0o600, Size: int64(len(body)), Typeflag: []byte{tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeSymlink, tar.TypeDir}[r.IntN(5)], Linkname: "/etc/passwd"}
			if h.Typeflag != tar.TypeReg {
				h.Size, body = 0, nil
			}
			if err := w.WriteHeader(h); err != nil {
				continue
			}
			w.Write(body)
			what += fmt.Sprintf("member %d %.30q ", i, n)
		}
		w.Close()
		return "a.tar", damage(b.Bytes()), what
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, body []byte, lie uint64) {
		h := &zip.FileHeader{Name: name, Method: []uint16{zip.Deflate, zip.Store}[r.IntN(2)]}
		var err error
		if lie > 0 {
			h.Method, h.CRC32 = zip.Store, crc32.ChecksumIEEE(body)
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(body)), lie
			if w, e := z.CreateRaw(h); e == nil {
				_, err = w.Write(body)
			}
		} else if w, e := z.CreateHeader(h); e == nil {
			_, err = w.Write(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		what += fmt.Sprintf("%.30q (%d bytes, lie %d) ", name, len(body), lie)
	}
	if r.IntN(4) > 0 {
		add("videos.npy", videos, 0)
	}
	if r.IntN(2) > 0 {
		add("labels.npy", labels, 0)
	}
	for range r.IntN(5) {
		lie := uint64(0)
		if r.IntN(3) == 0 {
			lie = []uint64{1, 1 << 20, 1 << 31, 1 << 40, 1<<64 - 1}[r.IntN(5)]
		}
		add(members[r.IntN(len(members))], odd(), lie)
	}
	switch r.IntN(8) {
	case 0: // many members
		for i := range 20000 {
			w, _ := z.Create(fmt.Sprintf("x%d.npy", i))
			w.Write(nil)
		}
		what += "and 20000 more"
	case 1: // zeros, which deflate packs a thousandfold
		w, _ := z.Create([]string{"videos.npy", "labels.npy", "points_2d.npy"}[r.IntN(3)])
		w.Write(appendNpyHeader(nil, "|u1", []int{1 << 14, 2, 1, 64, 64}))
		block := make([]byte, 1<<20)
		for range 1 << 7 {
			w.Write(block)
		}
		what += "and 128 MiB of zeros"
	}
	z.Close()
	raw = b.Bytes()
	if r.IntN(3) == 0 {
		raw, what = damage(raw), what+"damaged"
	}
	return "a.npz", raw, what
}
