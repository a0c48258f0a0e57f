package videocodec

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/trainertest"
)

// TestSearchFindsTheHighestRateThatFits compares the bisection with a scan of all constant rate factors.
func TestSearchFindsTheHighestRateThatFits(t *testing.T) {
	c := Codec{lowest: 0, highest: 63, step: 1}
	size := func(crf float64) (float64, error) { return 10_000 / (1 + crf), nil }
	for _, most := range []float64{20_000, 10_000, 9_999, 1_234, 160, 157, 156.25} {
		want, wantBits := 63., 10_000./64
		for crf := 63.; crf >= 0; crf-- {
			if b, _ := size(crf); b <= most {
				want, wantBits = crf, b
			}
		}
		crf, bits, err := search(c, most, size)
		if err != nil || bits > most || bits < .99*most && (crf != want || bits != wantBits) {
			t.Errorf("at most %v bits: crf %v with %v bits, %v; want crf %v with %v", most, crf, bits, err, want, wantBits)
		}
	}
	if crf, bits, err := search(c, 100, size); err != nil || crf != 63 || bits != 10_000./64 {
		t.Errorf("less than the lowest rate: crf %v with %v bits, %v; want crf 63 with its bits", crf, bits, err)
	}
}

func TestPacketBytesReadsFramecrc(t *testing.T) {
	const list = "#tb 0: 1/25\n#codec_id 0: h264\n" +
		"0,         -2,          0,        1,      422, 0x5e86d5f0, S=1,        8\n" +
		"0,         -1,          1,        1,       81, 0xa6bb2095, F=0x0\n"
	bytes, packets, err := packetBytes([]byte(list))
	if err != nil || bytes != 503 || packets != 2 {
		t.Errorf("%d bytes in %d packets, %v; want 503 in 2", bytes, packets, err)
	}
	for _, bad := range []string{"0, 1, 2\n", "0, 0, 0, 1, many, 0x1\n"} {
		if _, _, err := packetBytes([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a packet", bad)
		}
	}
}

func TestParseEncoders(t *testing.T) {
	const list = "Encoders:\n V..... = Video\n A..... = Audio\n ------\n V....D libx264              libx264 H.264 (codec h264)\n A....D aac                  AAC\n"
	found := parseEncoders([]byte(list))
	if len(found) != 1 || !found["libx264"] {
		t.Errorf("encoders %v; want libx264 alone", found)
	}
}

// TestMeasureOnFilm encodes two clips of the project's own film. More bits must give a better picture, in no more bits
// than were allowed; a rate that no stream of the codec needs gives nearly the original, which frames in a wrong order
// or place would not.
func TestMeasureOnFilm(t *testing.T) {
	needs(t, "libx264")
	src, err := data.Open(t.Context(), []string{"../../testdata/clips/ball", "../../testdata/clips/dog"}, data.Options{})
	trainertest.Check(t, err)
	defer src.Close()
	// An odd size and a length that is not a clip's.
	cfg := data.Defaults()
	cfg.Height, cfg.Width, cfg.Frames = 63, 65, 9
	keep := codecs
	defer func() { codecs = keep }()
	codecs = []Codec{keep[0], {Name: "V", Encoder: "libnone"}}

	var before metrics.CodecScores
	for _, rate := range []float64{.1, .4, 50} {
		list, err := Measure(t.Context(), src, []int{0, 2}, cfg, rate)
		trainertest.Check(t, err)
		r := list[0]
		if r.Missing != "" || float64(r.BitsPerPixel) > rate || rate < 1 && float64(r.BitsPerPixel) < .95*rate {
			t.Errorf("%+v; want 95 to 100 %% of %v bits a pixel", r, rate)
		}
		if strings.Contains(r.Settings, "lowest") {
			t.Errorf("%+v at %v bits a pixel; a lower rate is possible", r, rate)
		}
		if !(r.PSNR > before.PSNR+2 && r.SSIM > before.SSIM) || !strings.Contains(r.Settings, "crf") {
			t.Errorf("at %v bits a pixel %+v, at less %+v", rate, r, before)
		}
		if !strings.Contains(list[1].Missing, "libnone") {
			t.Errorf("a codec without encoder: %+v; want what is missing", list[1])
		}
		before = r
	}
	list, err := Measure(t.Context(), src, []int{0}, cfg, .001)
	trainertest.Check(t, err)
	if r := list[0]; r.BitsPerPixel <= .001 || !strings.Contains(r.Settings, "crf 51, its lowest rate") {
		t.Errorf("%+v at 0.001 bits a pixel; want the lowest rate", r)
	}
	if before.PSNR < 35 {
		t.Errorf("without a limit %v dB; want at least 35, what 4:2:0 leaves", before.PSNR)
	}
	cfg.Channels = 1
	list, err = Measure(t.Context(), src, []int{0}, cfg, 50)
	trainertest.Check(t, err)
	if list[0].PSNR < 40 {
		t.Errorf("grey without a limit: %v dB; want at least 40", list[0].PSNR)
	}
}

// TestAV1Packets checks that the stream has a packet for each frame, without the headers.
func TestAV1Packets(t *testing.T) {
	needs(t, "libaom-av1")
	src, err := data.Open(t.Context(), []string{"../../testdata/clips/puck"}, data.Options{})
	trainertest.Check(t, err)
	defer src.Close()
	cfg := data.Defaults()
	cfg.Size, cfg.Frames = 32, 5
	keep := codecs
	defer func() { codecs = keep }()
	codecs = keep[1:2]
	list, err := Measure(t.Context(), src, []int{0}, cfg, .3)
	trainertest.Check(t, err)
	if r := list[0]; !(r.BitsPerPixel > 0 && r.BitsPerPixel <= .3) || r.PSNR < 20 {
		t.Errorf("%+v; want at most 0.3 bits a pixel and 20 dB", r)
	}
}

func TestWithoutFFmpegCodecsAreMissing(t *testing.T) {
	t.Setenv("PATH", "")
	list, err := Measure(context.Background(), trainertest.Squares{Clips: 2}, []int{0}, data.Defaults(), .1)
	if err != nil || len(list) != len(codecs) || !strings.Contains(list[0].Missing, "not on the PATH") {
		t.Errorf("%+v, %v; want both missing", list, err)
	}
}

func needs(t *testing.T, encoder string) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not on the PATH")
	}
	found, err := encoders(t.Context())
	trainertest.Check(t, err)
	if !found[encoder] {
		t.Skip("this ffmpeg has no encoder " + encoder)
	}
}
