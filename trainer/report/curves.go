package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"magvit/trainer/metrics"
)

const (
	chartWidth  = 360 // points; a phone shows it nearly 1:1
	chartHeight = 190
	maxPoints   = 300 // of a curve; longer ones are averaged in as many bins
	maxMarked   = 40  // points of a curve that are marked
)

// style distinguishes curves by dash and by colour. The colours are those of Okabe and
// Ito, which are distinct with every common kind of colour vision.
type style struct {
	color color.RGBA
	dash  []float64 // points on, off, ...; nil is solid
}

var styles = []style{
	{color.RGBA{0x00, 0x72, 0xb2, 255}, nil},
	{color.RGBA{0xd5, 0x5e, 0x00, 255}, []float64{7, 3}},
	{color.RGBA{0x00, 0x6b, 0x50, 255}, []float64{2, 2}},
	{color.RGBA{0x00, 0x00, 0x00, 255}, []float64{8, 2, 2, 2}},
	{color.RGBA{0x8a, 0x4a, 0x78, 255}, []float64{1, 3}},
}

// curve is one line of a chart; points that are not finite are left out.
type curve struct {
	name string
	xy   plotter.XYs
}

func (c *curve) add(step int, y metrics.Number) {
	if y.Finite() {
		c.xy = append(c.xy, plotter.XY{X: float64(step), Y: float64(y)})
	}
}

// Chart is a drawn set of curves for the page.
type Chart struct {
	Title, Definition string
	SVG               template.HTML
	Legend            []LegendEntry
}

// LegendEntry repeats the colour and the dashes of a curve.
type LegendEntry struct{ Name, Color, Dash, Last string }

// xAxis is the horizontal axis of a chart.
type xAxis struct {
	label    string
	from, to float64
	log      bool
}

// overSteps is the axis of training steps.
func overSteps(last int) xAxis { return xAxis{"step", 0, float64(max(last, 1)), false} }

// chart draws curves; ok is false where there is no point to draw. The vertical axis is
// logarithmic if wantLog is set and the values are positive and span a factor of 20.
func chart(title, definition string, x xAxis, wantLog bool, curves ...curve) (c Chart, ok bool, err error) {
	p := plot.New()
	p.X.Min, p.X.Max = x.from, x.to
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(ticks), plot.TickerFunc(ticks)
	if x.log {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	}
	c = Chart{Title: title, Definition: definition}
	low, high := math.Inf(1), math.Inf(-1)
	for _, cv := range curves {
		for _, xy := range cv.xy {
			low, high = min(low, xy.Y), max(high, xy.Y)
		}
	}
	if low > high {
		return c, false, nil
	}
	logarithmic := wantLog && low > 0 && high/low > 20
	described := []string{}
	for i, cv := range curves {
		if len(cv.xy) == 0 {
			continue
		}
		s := styles[i%len(styles)]
		line, err := plotter.NewLine(bin(cv.xy, maxPoints))
		if err != nil {
			return c, false, fmt.Errorf("chart %s: %w", title, err)
		}
		line.Color, line.Width = s.color, 1.6
		var dash []string
		for _, d := range s.dash {
			line.Dashes = append(line.Dashes, vg.Length(d))
			dash = append(dash, fmt.Sprint(d))
		}
		p.Add(line)
		if len(cv.xy) <= maxMarked && s.dash == nil {
			points, err := plotter.NewScatter(cv.xy)
			if err != nil {
				return c, false, fmt.Errorf("chart %s: %w", title, err)
			}
			points.GlyphStyle = draw.GlyphStyle{Color: s.color, Radius: 2, Shape: draw.CircleGlyph{}}
			p.Add(points)
		}
		last := short(cv.xy[len(cv.xy)-1].Y)
		c.Legend = append(c.Legend, LegendEntry{cv.name, fmt.Sprintf("#%02x%02x%02x", s.color.R, s.color.G, s.color.B), strings.Join(dash, " "), last})
		described = append(described, fmt.Sprintf("%s, from %s to %s", cv.name, short(cv.xy[0].Y), last))
	}
	if logarithmic {
		p.Y.Scale = plot.LogScale{}
		p.Y.Tick.Marker = plot.TickerFunc(logTicks)
		p.Y.Min, p.Y.Max = low/1.1, high*1.1
	} else {
		pad := max((high-low)*.05, math.Abs(high)*.02, 1e-9)
		p.Y.Min, p.Y.Max = low-pad, high+pad
		if low >= 0 && low < (high-low)/2 {
			p.Y.Min = 0
		}
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xee}
	p.Add(grid)
	p.X.Label.Text = x.label
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}
		a.Label.TextStyle.Font = a.Tick.Label.Font
		a.Padding = 0
	}
	c.SVG, err = svg(p, title+" over "+x.label+": "+strings.Join(described, "; "))
	return c, err == nil, err
}

// ticks are those of gonum with labels as short as their values allow.
func ticks(low, high float64) []plot.Tick {
	list := plot.DefaultTicks{}.Ticks(low, high)
	for i := range list {
		if list[i].Label != "" {
			list[i].Label = short(list[i].Value)
		}
	}
	return list
}

// logTicks labels 1, 2 and 5 times the powers of ten, or only the powers over wide ranges.
func logTicks(low, high float64) (ticks []plot.Tick) {
	labelled := []float64{1, 2, 5}
	if high/low > 200 {
		labelled = labelled[:1]
	}
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for m := 1.; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			t := plot.Tick{Value: v}
			if slices.Contains(labelled, m) {
				t.Label = short(v)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// svg draws a plot as an inline element that scales with the page and needs no
// font of its own.
func svg(p *plot.Plot, alt string) (template.HTML, error) {
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(canvas), 1, -12, 0, -2)) // room for half of the last tick's label
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("chart: %w", err)
	}
	_, body, found := strings.Cut(b.String(), "xlink\">")
	if !found {
		return "", fmt.Errorf("chart: the plot library's SVG has an unknown beginning: %.80q", b.String())
	}
	head := fmt.Sprintf(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(alt))
	return template.HTML(head + body), nil
}

// bin averages neighbours until there are at most n points.
func bin(xy plotter.XYs, n int) plotter.XYs {
	if len(xy) <= n {
		return xy
	}
	out := make(plotter.XYs, n)
	for i := range out {
		part := xy[i*len(xy)/n : (i+1)*len(xy)/n]
		for _, p := range part {
			out[i].X += p.X / float64(len(part))
			out[i].Y += p.Y / float64(len(part))
		}
	}
	return out
}

// short prints three significant digits.
func short(v float64) string {
	if math.Abs(v) >= 1000 && math.Abs(v) < 1e7 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// charts draws the learning curves for which there are numbers.
func charts(steps []metrics.StepRecord, evals []metrics.EvalRecord) ([]Chart, error) {
	lastStep := 0
	if n := len(steps); n > 0 {
		lastStep = steps[n-1].Step
	}
	if n := len(evals); n > 0 {
		lastStep = max(lastStep, evals[n-1].Step)
	}
	ofSteps := func(name string, of func(metrics.StepRecord) metrics.Number) curve {
		c := curve{name: name}
		for _, s := range steps {
			c.add(s.Step, of(s))
		}
		return c
	}
	ofEvals := func(name string, of func(metrics.Report) metrics.Number) curve {
		c := curve{name: name}
		for _, e := range evals {
			c.add(e.Step, of(e.Val))
		}
		return c
	}
	// against draws a score of the reconstruction, and of the baselines, which
	// do not change during a run, as horizontal lines.
	against := func(of func(metrics.Scores) metrics.Number) []curve {
		list := []curve{ofEvals("reconstruction", func(r metrics.Report) metrics.Number {
			return of(metrics.Scores{PSNR: r.PSNR, ForegroundPSNR: r.ForegroundPSNR, SSIM: r.SSIM})
		})}
		for _, name := range metrics.BaselineNames {
			if len(evals) == 0 {
				break
			}
			if scores, ok := evals[len(evals)-1].Val.Baselines[name]; ok {
				c := curve{name: inWords(name)}
				c.add(0, of(scores))
				c.add(lastStep, of(scores))
				list = append(list, c)
			}
		}
		return list
	}
	var others []curve // of all terms but the reconstruction's
	seen := map[string]bool{"recon": true}
	for _, s := range steps {
		for _, term := range s.Terms {
			if !seen[term.Name] && !metrics.IsAdversarial(term.Name) {
				others = append(others, ofSteps(inWords(term.Name), func(s metrics.StepRecord) metrics.Number { return s.Terms.Of(term.Name) }))
			}
			seen[term.Name] = true
		}
	}
	terms := func(names ...string) (list []curve) {
		for _, name := range names {
			if seen[name] {
				list = append(list, ofSteps(inWords(name), func(s metrics.StepRecord) metrics.Number { return s.Terms.Of(name) }))
			}
		}
		return list
	}
	type spec struct {
		title, definition string
		log               bool
		curves            []curve
	}
	var out []Chart
	for _, s := range []spec{
		{"Training loss", "The loss that the optimizer minimizes, and its reconstruction term, which compares pixels.", true, []curve{
			ofSteps("loss", func(s metrics.StepRecord) metrics.Number { return s.Loss }),
			ofSteps("reconstruction term", func(s metrics.StepRecord) metrics.Number { return s.Terms.Of("recon") })}},
		{"PSNR on held-out clips, dB", "Peak signal-to-noise ratio over whole frames; broken lines are guesses that need no tokenizer.", false,
			against(func(s metrics.Scores) metrics.Number { return s.PSNR })},
		{"Foreground PSNR on held-out clips, dB", "The same over what differs from the clip's median colour, and its surroundings: over a plain background, what moves there.", false,
			against(func(s metrics.Scores) metrics.Number { return s.ForegroundPSNR })},
		{"SSIM on held-out clips", "Structural similarity, 1 for an exact copy.", false,
			against(func(s metrics.Scores) metrics.Number { return s.SSIM })},
		{"Code use on held-out clips", "Different codes used, and perplexity: the number of codes that, evenly used, would have the same entropy.", true, []curve{
			ofEvals("codes used", func(r metrics.Report) metrics.Number { return metrics.Number(r.Codes.Used) }),
			ofEvals("perplexity", func(r metrics.Report) metrics.Number { return r.Codes.Perplexity })}},
		{"Other terms of the loss", "Unweighted. Entropies are in nats: that of single samples is made small, that of the whole codebook large.", false, others},
		{"Learning rate", "The optimizer's step size after warm-up and schedule.", false, []curve{
			ofSteps("learning rate", func(s metrics.StepRecord) metrics.Number { return s.LR })}},
		{"Gradient norm", "Length of the gradient of all parameters, before clipping.", true, []curve{
			ofSteps("gradient norm", func(s metrics.StepRecord) metrics.Number { return s.GradNorm })}},
		{"Losses of adversarial training", "What tokenizer and discriminator minimize against each other, unweighted, the penalty on the discriminator's slope, and LeCam regularization.", false,
			terms("generator", "discriminator", "gradient_penalty", "lecam")},
		{"Accuracy of the discriminator", "Fraction of the frames that it judges rightly: 1/2 is chance; near 1 on both kinds it has won.", false,
			terms("real_accuracy", "fake_accuracy")},
		{"Logits of the discriminator", "Means of its output for real and reconstructed frames, large for those that look real, and LeCam's running averages of them.", false,
			terms("real_logit", "fake_logit", "lecam_real", "lecam_fake")},
		{"Weight of the adversarial term", "The adaptive factor, and the size of the weighted term's gradient compared with all others on pixels.", true,
			terms("adaptive_weight", "adversarial_share")},
		{"Gradient norm of the discriminator", "Length of the gradient of its parameters, before clipping.", true, []curve{
			ofSteps("gradient norm", func(s metrics.StepRecord) metrics.Number {
				if s.DiscriminatorGradNorm == nil {
					return metrics.Number(math.NaN())
				}
				return *s.DiscriminatorGradNorm
			})}},
		{"Clips per second", "Training clips that went through a step, per second.", false, []curve{
			ofSteps("clips/s", func(s metrics.StepRecord) metrics.Number { return s.ClipsPerSecond })}},
	} {
		c, ok, err := chart(s.title, s.definition, overSteps(lastStep), s.log, s.curves...)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, c)
		}
	}
	return out, nil
}

// rankChart draws how often codes are used, the most frequent one first.
func rankChart(c metrics.Codes) (Chart, bool, error) {
	if len(c.Ranks) == 0 {
		return Chart{}, false, nil
	}
	measured := curve{name: "measured"}
	for _, r := range c.Ranks {
		measured.xy = append(measured.xy, plotter.XY{X: float64(r.Rank), Y: float64(r.Share)})
	}
	even := 1 / float64(c.Reachable())
	ideal := curve{name: "evenly used", xy: plotter.XYs{{X: 1, Y: even}, {X: float64(c.Reachable()), Y: even}}}
	return chart("How often codes are used", "Fraction of all codes of the held-out clips, codes sorted by frequency; the broken line is what even use of every code would give.",
		xAxis{"rank", 1, float64(max(c.Reachable(), 2)), true}, true, measured, ideal)
}
