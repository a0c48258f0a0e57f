package metrics

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteText prints a report for a terminal: each number with the trivial baseline's
// that it has to exceed.
func WriteText(w io.Writer, r Report) error {
	var b strings.Builder
	quality(&b, r)
	codeUse(&b, r.Codes)
	rate(&b, r)
	codecs(&b, r)
	if len(r.PerClass) > 0 {
		t := table{{"class (best baseline)", "clips", "PSNR dB", "foreground dB", "SSIM"}}
		for _, name := range slices.Sorted(maps.Keys(r.PerClass)) {
			c := r.PerClass[name]
			t.row(name, c.Clips, withBaseline(c.PSNR, c.Baseline.PSNR, 2),
				withBaseline(c.ForegroundPSNR, c.Baseline.ForegroundPSNR, 2), withBaseline(c.SSIM, c.Baseline.SSIM, 4))
		}
		t.write(&b)
	}
	if len(r.PerFrame) > 0 {
		t := table{{"frame (best baseline)", "PSNR dB", "foreground dB"}}
		for _, f := range r.PerFrame {
			t.row(f.Frame, withBaseline(f.PSNR, f.Baseline.PSNR, 2), withBaseline(f.ForegroundPSNR, f.Baseline.ForegroundPSNR, 2))
		}
		t.write(&b)
	}
	if len(r.Worst) > 0 {
		t := table{{"worst clips", "PSNR dB", "", "best clips", "PSNR dB"}}
		for i, c := range r.Worst {
			t.row(c.Name, c.PSNR.Text(2), "", r.Best[i].Name, r.Best[i].PSNR.Text(2))
		}
		t.write(&b)
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}

func quality(b *strings.Builder, r Report) {
	t := table{{fmt.Sprintf("%s, %s", Plural(r.Clips, "clip"), Plural(r.Frames, "frame")), "PSNR dB", "foreground dB", "SSIM"}}
	t.row("reconstruction", r.PSNR.Text(2), r.ForegroundPSNR.Text(2), r.SSIM.Text(4))
	for _, name := range BaselineNames {
		if s, ok := r.Baselines[name]; ok {
			t.row("  "+name, s.PSNR.Text(2), s.ForegroundPSNR.Text(2), s.SSIM.Text(4))
		}
	}
	_, p := r.BestBaseline(func(s Scores) Number { return s.PSNR })
	_, f := r.BestBaseline(func(s Scores) Number { return s.ForegroundPSNR })
	_, s := r.BestBaseline(func(s Scores) Number { return s.SSIM })
	t.row("above white, mean and first frame by", (r.PSNR - p).signed(2), (r.ForegroundPSNR - f).signed(2), (r.SSIM - s).signed(4))
	fraction := "–"
	if r.ForegroundShare.Finite() {
		fraction = (100 * r.ForegroundShare).Text(2) + " %"
	}
	t.row("fraction of the pixels", "100 %", fraction, "100 %")
	t.write(b)
}

func codeUse(b *strings.Builder, c Codes) {
	t := table{{fmt.Sprintf("%s codes, codebook of %s", Grouped(int(c.Count)), Grouped(c.Size)), "measured", "collapsed", "ideal"}}
	t.row("used", c.Used, 1, c.Reachable())
	t.row("perplexity", c.Perplexity.Text(1), 1, c.Reachable())
	ideal := 0.
	if c.Reachable() > 0 {
		ideal = math.Log2(float64(c.Reachable()))
	}
	t.row("entropy, bits", c.EntropyBits.Text(2), 0, Number(ideal).Text(2))
	if name := c.DigitName(); name == "dimensions" {
		t.row("dead FSQ dimensions", c.DeadBits, c.Digits, 0)
	} else if name != "" {
		t.row("dead "+name, c.DeadBits, c.Digits, 0)
	}
	t.write(b)
}

func rate(b *strings.Builder, r Report) {
	if r.BitsPerPixel.Finite() && r.BitsPerPixel > 0 && r.Clips > 0 {
		fmt.Fprintf(b, "%s codes a clip, %s bits a pixel (%s by their entropy), compression %s:1\n\n",
			Grouped(int(r.Codes.Count)/r.Clips), r.BitsPerPixel.Text(4), r.EntropyRate.Text(4), r.Compression.Text(0))
	}
}

// codecs compares the codes with video codecs at the same rate, where these were measured.
func codecs(b *strings.Builder, r Report) {
	if len(r.Codecs) == 0 {
		return
	}
	t := table{{"at the codes' rate", "bits a pixel", "PSNR dB", "foreground dB", "SSIM"}}
	t.row("codes", r.BitsPerPixel.Text(4), r.PSNR.Text(2), r.ForegroundPSNR.Text(2), r.SSIM.Text(4))
	for _, c := range r.Codecs {
		if c.Missing == "" {
			t.row(c.Label(), c.BitsPerPixel.Text(4), c.PSNR.Text(2), c.ForegroundPSNR.Text(2), c.SSIM.Text(4))
		}
	}
	t.write(b)
	for _, c := range r.Codecs {
		if c.Missing != "" {
			fmt.Fprintf(b, "%s is missing: %s\n\n", c.Name, c.Missing)
		}
	}
}

// Label is the codec with its settings.
func (c CodecScores) Label() string { return fmt.Sprintf("%s (%s)", c.Name, c.Settings) }

// Grouped prints a whole number with its digits in groups of three.
func Grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

func withBaseline(n, baseline Number, digits int) string {
	return fmt.Sprintf("%s (%s)", n.Text(digits), baseline.Text(digits))
}

// Text is the number with the given decimals, or a dash where it is not finite.
func (n Number) Text(decimals int) string {
	if !n.Finite() {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, float64(n))
}

func (n Number) signed(decimals int) string {
	if !n.Finite() {
		return "–"
	}
	return fmt.Sprintf("%+.*f", decimals, float64(n))
}

// table is the rows of WriteTable.
type table [][]string

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	*t = append(*t, row)
}

func (t table) write(b *strings.Builder) { WriteTable(b, t) }

// WriteTable prints rows of the same number of cells and an empty line: the first column
// flush left, the others flush right.
func WriteTable(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// Plural is a number of things, as in 1 clip and 2 clips.
func Plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return Grouped(n) + " " + word
}
