package data

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/kernels/philox"
)

// TestFilmsThatPlayersShowOtherwise reads films of high dynamic range and interlaced ones as they are stored: means of red,
// green and blue of frame 3 as torchcodec 0.17.0 gives them (of fields.mpg, which it does not read, as ffmpeg 5.1.9 does), within
// 1 for other versions of the encoders. One sentence of Problems is about each property of a set.
func TestFilmsThatPlayersShowOtherwise(t *testing.T) {
	hdr := func(transfer string) []string {
		return []string{"testsrc2=s=64x48:r=25:d=0.4", "-c:v", "libx264", "-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"}
	}
	tenBits := []string{"testsrc2=s=64x48:r=25:d=0.4", "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-x265-params",
		"log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"}
	fields := []string{"testsrc2=s=64x48:r=25:d=0.4", "-flags", "+ilme+ildct", "-c:v"}
	for name, c := range map[string]struct {
		args []string
		says string
		mean [3]float64
	}{
		"pq.mkv":     {tenBits, "is HDR (PQ)", [3]float64{53.91, 71.14, 63.26}},
		"pq.mp4":     {hdr("smpte2084"), "is HDR (PQ)", [3]float64{55, 71.44, 63.16}},
		"hlg.mp4":    {hdr("arib-std-b67"), "is HDR (HLG)", [3]float64{55, 71.44, 63.16}},
		"top.mp4":    {append(fields[:4:4], "libx264", "-x264-params", "tff=1"), "is interlaced", [3]float64{54.52, 74.45, 63.06}},
		"bottom.mp4": {append(fields[:4:4], "libx264", "-x264-params", "bff=1"), "is interlaced", [3]float64{54.52, 74.45, 63.06}},
		"fields.mpg": {append(fields[:4:4], "mpeg2video", "-top", "1"), "is interlaced", [3]float64{54.45, 74.75, 62.86}},
		"plain.mp4":  {append(hdr("bt709")[:1:1], "-c:v", "libx264"), "", [3]float64{55.11, 74.45, 62.8}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			makeFilm(t, path, c.args...)
			index := &Index{}
			whole, windows := mustOpen(t, Options{Index: index}, path, path), asFilms(t, mustOpen(t, Options{Cache: -1, Index: index}, path))
			clip := mustRead(t, whole, 0)
			for k, want := range c.mean {
				sum := 0.
				for at := k; at < 48*64*3; at += 3 {
					sum += 255 * float64(clip.Video[3*48*64*3+at])
				}
				if got := sum / (48 * 64); abs(got-want) > 1 {
					t.Errorf("mean of channel %d is %.2f, want %v", k, got, want)
				}
			}
			_, _, err := readPart(t.Context(), windows, 0, fixedRequest([]int{3}, fit{}), nil, nil)
			need(t, err)
			indexed := asFilms(t, mustOpen(t, Options{Cache: -1, Index: index}, path)) // its film is not scanned again
			_, _, err = readPart(t.Context(), indexed, 0, fixedRequest([]int{3}, fit{}), nil, nil)
			need(t, err)
			for _, src := range []Source{whole, windows, indexed} {
				var said []string
				for _, p := range src.Problems() {
					if strings.Contains(p, "others like it") {
						said = append(said, p)
					}
				}
				if c.says == "" && len(said) > 0 || c.says != "" && (len(said) != 1 || !strings.Contains(said[0], c.says) || !strings.Contains(said[0], name)) {
					t.Errorf("problems %q, want one that %s", said, c.says)
				}
			}
		})
	}
}

// TestLogOfFFmpeg writes a log in pieces of any size. Errors are retained, with the part of ffmpeg that they are of.
func TestLogOfFFmpeg(t *testing.T) {
	const log = "[info] Input #0, mov, from 'a.mp4':\n[info]     title           : Trailer: Video: arib-std-b67\n[info]   Stream #0:0: Video: png, rgb24(pc), 64x48 (attached pic)\n" +
		"[info]   Stream #0:1(und): Video: hevc (Main 10), yuv420p10le(tv, bt2020nc/bt2020/smpte2084, top first), 64x48\n" +
		"[info]   Stream #0:0: Video: pam, rgb24(arib-std-b67), 64x48\n[h264 @ 0x55d0] [warning] no\r[h264 @ 0x55d0] [error] left\n" +
		"a line without a level\n[fatal] cut"
	r := philox.New(1, "log", 0, 0)
	for range 50 {
		var l tail
		for rest := []byte(log); len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			l.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := l.text(), "[h264] left; a line without a level; cut"; got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if got := l.unlike(); !slices.Equal(got, []string{"smpte2084", "top first"}) {
			t.Fatalf("properties %v of %q", got, l.stream)
		}
	}
	var l tail
	for range 1000 {
		l.Write([]byte(strings.Repeat("without end", 100)))
	}
	if len(l.line) > maxLine || len(l.text()) > tailBytes {
		t.Errorf("%d bytes of a line, %d of the text", len(l.line), len(l.text()))
	}
}
