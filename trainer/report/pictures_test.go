package report

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"
)

func rgb(c color.Color) [3]uint8 {
	r, g, b, _ := c.RGBA()
	return [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
}

// Two frames of 64x32, red then black, rebuilt 1/8 too dark, once with NaN.
func testPair() Pair {
	p := Pair{Name: "a", Class: "b", T: 2, H: 32, W: 64, C: 3}
	p.Target = slices.Concat(slices.Repeat([]float32{1, .5, 0}, 32*64), slices.Repeat([]float32{0}, 3*32*64))
	p.Recon = slices.Clone(p.Target)
	for i := 0; i < len(p.Recon); i += 3 {
		p.Recon[i] -= .125
	}
	p.Recon[0] = float32(math.NaN())
	return p
}

func TestSideBySide(t *testing.T) {
	var b bytes.Buffer
	must(t, SideBySide(&b, []Pair{testPair(), testPair()}))
	img, err := png.Decode(&b)
	must(t, err)
	if got, want := img.Bounds().Size(), image.Pt(2*128+2, 2*(16+3*(64+2))); got != want {
		t.Fatalf("size %v, want %v", got, want)
	}
	for _, c := range []struct {
		x, y int
		want [3]uint8
	}{
		{60, 16 + 40, [3]uint8{255, 128, 0}},         // original, frame 0
		{60, 16 + 66 + 40, [3]uint8{223, 128, 0}},    // reconstruction: .875
		{60, 16 + 132 + 40, [3]uint8{128, 128, 128}}, // error: 1 - 4/8
		{130 + 60, 16 + 40, [3]uint8{0, 0, 0}},       // original, frame 1
		{130 + 60, 16 + 66 + 40, [3]uint8{0, 0, 0}},  // reconstruction clamped
		{130 + 60, 16 + 132 + 40, [3]uint8{255, 255, 255}},
		{1, 16 + 66 + 1, [3]uint8{0, 128, 0}},      // NaN
		{129, 16 + 40, [3]uint8{0xdd, 0xdd, 0xdd}}, // gap
		{60, 214 + 16 + 40, [3]uint8{255, 128, 0}}, // second clip
	} {
		if got := rgb(img.At(c.x, c.y)); got != c.want {
			t.Errorf("pixel (%d,%d) is %v, want %v", c.x, c.y, got, c.want)
		}
	}
}

func TestStrips(t *testing.T) {
	var b bytes.Buffer
	must(t, Strips(&b, []Pair{testPair(), testPair()}))
	img, err := png.Decode(&b)
	must(t, err)
	if got, want := img.Bounds().Size(), image.Pt(2*128+2, 2*(16+64+2)); got != want {
		t.Fatalf("size %v, want %v", got, want)
	}
	if got := rgb(img.At(60, 82+16+40)); got != [3]uint8{255, 128, 0} {
		t.Errorf("frame 0 of the second clip is %v", got)
	}
	if err := Strips(&b, nil); err == nil {
		t.Error("a picture of no clips")
	}
}

func TestAnimatedGIF(t *testing.T) {
	var b bytes.Buffer
	must(t, AnimatedGIF(&b, []Pair{testPair()}))
	g, err := gif.DecodeAll(&b)
	must(t, err)
	if len(g.Image) != 2 || g.LoopCount != 0 || g.Config.Width != 2*(3*66-2) || g.Config.Height != 64 {
		t.Fatalf("%d frames, loop %d, %dx%d", len(g.Image), g.LoopCount, g.Config.Width, g.Config.Height)
	}
	for i, want := range [][3]uint8{{255, 128, 0}, {223, 128, 0}, {128, 128, 128}} {
		if got := rgb(g.Image[0].At(132*i+60, 40)); got != want {
			t.Errorf("view %d is %v, want %v", i, got, want)
		}
	}
	if got := rgb(g.Image[1].At(60, 40)); got != [3]uint8{0, 0, 0} {
		t.Errorf("frame 1 is %v, want black", got)
	}
}

// A photograph-like gradient has far more than 256 colours; the palette must stay close.
func TestQuantise(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 128, 128))
	for y := range 128 {
		for x := range 128 {
			img.SetRGBA(x, y, color.RGBA{uint8(2 * x), uint8(2 * y), uint8(x + y), 255})
		}
	}
	for x := range 128 { // a rare colour must not be lost
		img.SetRGBA(x, 0, color.RGBA{255, 0, 0, 255})
	}
	palette, index := quantise([]*image.RGBA{img})
	if len(palette) != 256 {
		t.Fatalf("%d colours", len(palette))
	}
	sum := 0.
	for i := 0; i < len(img.Pix); i += 4 {
		c := rgb(palette[index(img.Pix[i], img.Pix[i+1], img.Pix[i+2])])
		for k := range 3 {
			sum += math.Pow(float64(c[k])-float64(img.Pix[i+k]), 2)
		}
	}
	// 256 cells of a plane of 256x256 leave squares of 16x16: 4.6 levels rms in each of two channels, less in blue.
	if rms := math.Sqrt(sum / (128 * 128 * 3)); rms > 5 {
		t.Errorf("error %.2f levels", rms)
	}
	if got := rgb(palette[index(255, 0, 0)]); got != [3]uint8{255, 0, 0} {
		t.Errorf("red became %v", got)
	}
}

func TestPicturesRefuse(t *testing.T) {
	short := testPair()
	short.Recon = short.Recon[1:]
	flat := testPair()
	flat.T = 0
	for _, c := range []struct {
		clips []Pair
		want  string
	}{{nil, "at least one"}, {[]Pair{short}, "must be 12288 for [2,32,64,3]"}, {[]Pair{flat}, "must be at least 1"}} {
		var b bytes.Buffer
		for _, err := range []error{SideBySide(&b, c.clips), AnimatedGIF(&b, c.clips)} {
			if err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
				t.Errorf("error %v after %d bytes; want …%s…", err, b.Len(), c.want)
			}
		}
	}
	if got := SampleName(500, "../a b", "png"); got != "step-000500-.._a_b.png" {
		t.Errorf("name %q", got)
	}
}

// Two latent frames of 1x2 codes, four levels then two: code 5 is digits 1, 1.
func TestCodeMap(t *testing.T) {
	p := testPair()
	p.Codes, p.Grid = []int32{0, 5, 3, 7}, [4]int{2, 1, 2, 1}
	var b bytes.Buffer
	must(t, CodeMap(&b, []Pair{p}, []int{4, 2}))
	img, err := png.Decode(&b)
	must(t, err)
	if got, want := img.Bounds().Size(), image.Pt(2*128+2, 16+2*(64+2)); got != want {
		t.Fatalf("size %v, want %v", got, want)
	}
	for _, c := range []struct {
		x, y int
		want [3]uint8
	}{
		{60, 16 + 40, [3]uint8{255, 128, 0}},            // the frame
		{130 + 60, 16 + 40, [3]uint8{}},                 // the later one
		{60, 16 + 66 + 40, [3]uint8{}},                  // code 0
		{68, 16 + 66 + 40, [3]uint8{0, 255, 85}},        // code 5: the second digit 1 of 1 green, the first 1 of 3 blue
		{130 + 60, 16 + 66 + 40, [3]uint8{0, 0, 255}},   // code 3
		{130 + 68, 16 + 66 + 40, [3]uint8{0, 255, 255}}, // code 7
	} {
		if got := rgb(img.At(c.x, c.y)); got != c.want {
			t.Errorf("pixel (%d,%d) is %v, want %v", c.x, c.y, got, c.want)
		}
	}
	p.Codes = p.Codes[:3]
	if err := CodeMap(&b, []Pair{p}, []int{4, 2}); err == nil || !strings.Contains(err.Error(), "3 codes for a grid of [2 1 2 1]") {
		t.Errorf("too few codes: %v", err)
	}
}

// Codes of a learned codebook have different colours, which depend on the code alone.
func TestColorsOfASingleDigit(t *testing.T) {
	seen := map[color.RGBA]int{}
	for code := range 512 {
		seen[codeColor(code, []int{512})]++
	}
	if len(seen) != 512 {
		t.Errorf("512 codes have %d colours", len(seen))
	}
}
