package data

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Files that are no film, or only a part of one, are told as such, in a read, in a scan and whatever their name.
func TestWhatIsNoFilmIsToldAsSuch(t *testing.T) {
	dir := t.TempDir()
	makeFilm(t, filepath.Join(dir, "end.mp4"), "testsrc2=s=64x48:r=25:d=1", "-c:v", "mpeg4")
	makeFilm(t, filepath.Join(dir, "front.mp4"), "testsrc2=s=64x48:r=25:d=1", "-c:v", "mpeg4", "-movflags", "faststart")
	half := func(name string) []byte {
		raw := read(t, filepath.Join(dir, name))
		return raw[:len(raw)*6/10]
	}
	text := []byte("this is a text, and no film\n")
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty.mp4", nil, "the file is empty (0 bytes)"},
		{"empty.gif", nil, "the file is empty (0 bytes)"},
		{"text.mp4", text, "or it is no film"},
		{"text.avi", text, "the file is damaged, or it is no film"},
		{"text.mkv", text, "the file is damaged, or it is no film"},
		{"text.gif", text, "no image of a kind that is read"},
		{"cut.mp4", half("end.mp4"), "the table of its frames (moov) is missing: the file was cut off"},
		{"cut front.mp4", half("front.mp4"), "ffmpeg -i IN OUT makes a film of the part that can be read"},
	} {
		src := mustOpen(t, Options{}, write(t, filepath.Join(dir, "bad", c.name), c.raw))
		_, err := src.Read(t.Context(), 0)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), " @ 0x") {
			t.Errorf("%s: %v, want %q and no address", c.name, err, c.want)
		}
		if strings.HasPrefix(c.name, "empty") {
			if _, _, err := length(t.Context(), mustOpen(t, Options{}, filepath.Join(dir, "bad", c.name)), 0); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("scan of %s: %v", c.name, err)
			}
		}
	}
}

// An empty frame of a folder, an empty archive and images between films are named.
func TestWhatIsLeftOutIsNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "frames", "1.png"), nil)
	write(t, filepath.Join(dir, "a.gif"), animation(t, 3))
	write(t, filepath.Join(dir, "photo.bmp"), nil)
	write(t, filepath.Join(dir, "empty.tar"), nil)
	write(t, filepath.Join(dir, "song.mp3"), nil)
	write(t, filepath.Join(dir, "parts.csv"), nil)
	info, err := Inspect(t.Context(), mustOpen(t, Options{}, dir), 0)
	if err != nil || info.Read != 1 || info.Unread != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	all := strings.Join(info.Problems, "\n")
	for _, want := range []string{
		"1 image next to video files left out (photo.bmp)", "2 files of no kind that is read left out: 1 .csv (", "parts.csv, which is read as a list where --data names it), 1 .mp3 (",
		"empty.tar: there are no files in the archive", "frames: 1.png: the file is empty (0 bytes)",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in:\n%s", want, all)
		}
	}
}

// DV is interlaced, though ffmpeg does not say so of the stream.
func TestDVIsToldAsInterlaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape.dv")
	if out, err := exec.Command(needFFmpeg(t), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=s=720x576:r=25:d=0.08", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	src := mustOpen(t, Options{}, path)
	if _, err := src.Read(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if p := strings.Join(src.Problems(), "\n"); !strings.Contains(p, "tape.dv is DV, which camcorders interlace") {
		t.Errorf("problems: %q", p)
	}
}
