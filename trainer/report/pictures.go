package report

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// ErrorScale multiplies the error in pictures: white is no error, black is an
// error of 1/ErrorScale of the range or more.
const ErrorScale = 4

const (
	sampled       = 8   // frames of a clip in a side-by-side
	side          = 128 // pixels to which the longer side of small frames is enlarged, at most
	gap           = 2   // pixels between frames
	captionHeight = 16  // pixels
)

// background shows between frames.
var background = image.NewUniform(color.Gray{0xdd})

// Pair is a clip and its reconstruction, both [T,H,W,C] in [0,1]. C is 1 for
// gray; of more channels than three the first three are shown.
type Pair struct {
	Name, Class   string
	T, H, W, C    int
	Target, Recon []float32
	Codes         []int32 // [T',H',W',books]; nil if not known
	Grid          [4]int  // T', H', W', books
}

func (p Pair) check() error {
	if p.T < 1 || p.H < 1 || p.W < 1 || p.C < 1 {
		return fmt.Errorf("picture of %s: shape [%d,%d,%d,%d]: each must be at least 1", p.Name, p.T, p.H, p.W, p.C)
	}
	n := p.T * p.H * p.W * p.C
	if len(p.Target) < n || len(p.Recon) < n {
		return fmt.Errorf("picture of %s: %d and %d values: must be %d for [%d,%d,%d,%d]", p.Name, len(p.Target), len(p.Recon), n, p.T, p.H, p.W, p.C)
	}
	return nil
}

// check reports why clips cannot be drawn in one picture.
func check(clips []Pair) error {
	if len(clips) == 0 {
		return fmt.Errorf("picture of no clips: at least one is needed")
	}
	for _, p := range clips {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// label names a clip in ASCII, which is what the font has.
func (p Pair) label() string {
	s := p.Name
	if p.Class != "" {
		s += " (" + p.Class + ")"
	}
	return s
}

// enlarge is the integer factor by which a frame is enlarged.
func (p Pair) enlarge() int { return max(1, side/max(p.H, p.W)) }

// pixel is the colour of a value of each view: original, reconstruction, error.
func (p Pair) pixel(view, frame, y, x int) color.RGBA {
	at := ((frame*p.H+y)*p.W + x) * p.C
	var rgb [3]float32
	for i := range rgb {
		c := min(i, p.C-1)
		if p.C == 2 {
			c = 0
		}
		rgb[i] = p.Target[at+c]
		if view == 1 {
			rgb[i] = p.Recon[at+c]
		}
	}
	if view == 2 {
		worst := float32(0)
		for c := range p.C {
			worst = max(worst, float32(math.Abs(float64(clamp(p.Recon[at+c])-p.Target[at+c]))))
		}
		rgb = [3]float32{1 - ErrorScale*worst, 1 - ErrorScale*worst, 1 - ErrorScale*worst}
	}
	b := func(v float32) uint8 { return uint8(clamp(v)*255 + .5) }
	return color.RGBA{b(rgb[0]), b(rgb[1]), b(rgb[2]), 255}
}

// clamp limits to [0,1]; NaN becomes 0.
func clamp(v float32) float32 {
	if v > 0 {
		return min(v, 1)
	}
	return 0
}

// draw paints one frame of a view, enlarged k times, with its upper left corner at (x0,y0).
func (p Pair) draw(dst *image.RGBA, x0, y0, k, view, frame int) {
	line := make([]uint8, 0, 4*p.W*k)
	for y := range p.H {
		line = line[:0]
		for x := range p.W {
			c := p.pixel(view, frame, y, x)
			for range k {
				line = append(line, c.R, c.G, c.B, c.A)
			}
		}
		for i := range k {
			copy(dst.Pix[dst.PixOffset(x0, y0+y*k+i):], line)
		}
	}
}

// frames are up to most frame numbers, spread evenly from the first to the last.
func (p Pair) frames(most int) (list []int) {
	n := min(most, p.T)
	for i := range n {
		list = append(list, i*(p.T-1)/max(n-1, 1))
	}
	return list
}

// SideBySide writes a PNG: for each clip a caption, then rows of original,
// reconstruction and absolute error (times ErrorScale) over up to eight frames.
func SideBySide(w io.Writer, clips []Pair) error {
	if err := check(clips); err != nil {
		return err
	}
	return rows(w, clips, 3, sampled, func(p Pair, frames []int) string {
		return fmt.Sprintf("%s: original, reconstruction, error x%d; frames %s", p.label(), ErrorScale, strings.Trim(fmt.Sprint(frames), "[]"))
	})
}

// Strips writes a PNG: for each clip a caption, then a row of up to 16 frames of Target.
func Strips(w io.Writer, clips []Pair) error {
	for i := range clips {
		clips[i].Recon = clips[i].Target
	}
	if err := check(clips); err != nil {
		return err
	}
	return rows(w, clips, 1, 2*sampled, func(p Pair, _ []int) string { return p.label() })
}

// rows writes a PNG: for each clip a caption, then rows of the first views over some frames.
func rows(w io.Writer, clips []Pair, views, most int, caption func(p Pair, frames []int) string) error {
	width, height := 0, 0
	for _, p := range clips {
		k := p.enlarge()
		width = max(width, len(p.frames(most))*(p.W*k+gap)-gap)
		height += captionHeight + views*(p.H*k+gap)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Bounds(), background, image.Point{}, draw.Src)
	top := 0
	for _, p := range clips {
		k, frames := p.enlarge(), p.frames(most)
		text(img, 2, top, caption(p, frames))
		top += captionHeight
		for view := range views {
			for i, f := range frames {
				p.draw(img, i*(p.W*k+gap), top, k, view, f)
			}
			top += p.H*k + gap
		}
	}
	return png.Encode(w, img)
}

func text(img *image.RGBA, x, top int, s string) {
	d := font.Drawer{Dst: img, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(x, top+12)}
	d.DrawString(s)
}

// Names of pictures that are not of a class.
const (
	CodesName = "codes"
	WorstName = "worst clips"
	BestName  = "best clips"
)

// SampleName is the file name, below samples/, under which Write finds a
// picture of a class at a step; ext is "png" or "gif".
func SampleName(step int, class, ext string) string {
	safe := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|%#`, r) || r <= ' ' {
			return '_'
		}
		return r
	}, class)
	if safe == "" {
		safe = "clips"
	}
	return fmt.Sprintf("step-%06d-%s.%s", step, safe, ext)
}
