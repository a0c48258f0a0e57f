package report

import (
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"path/filepath"
	"strings"

	"magvit/trainer/probe"
)

// loadProbe reads probe.json. It is nil if there is none or it cannot be parsed; the page
// is written without it.
func loadProbe(dir string) (*probe.Result, error) {
	text, err := optional(filepath.Join(dir, probe.FileName))
	if err != nil || text == nil {
		return nil, err
	}
	var r probe.Result
	if json.Unmarshal(text, &r) != nil || len(r.Classes) < 2 || len(r.Codes) == 0 {
		return nil, nil
	}
	return &r, nil
}

// Probe is a probe's result with what the page draws of it.
type Probe struct {
	*probe.Result
	Heads []string // rows of the table
	Map   template.HTML
}

func showProbe(r *probe.Result) *Probe {
	if r == nil {
		return nil
	}
	return &Probe{r, append(append([]string{}, probe.HeadNames...), probe.BestName), probeMap(r)}
}

// Cells are a head's scores in each column.
func (p *Probe) Cells(head string) (cells []string) {
	for _, c := range p.Columns() {
		s, ok := c.Scores[head]
		text := "–"
		if ok {
			text = s.Text()
			if head == probe.BestName {
				text = s.Head + " " + text
			}
		}
		cells = append(cells, text)
	}
	return cells
}

// Best is the best head on codes.
func (p *Probe) Best() probe.Score { return p.Codes[probe.BestName] }

// probeMap draws the clips on two principal components: each class
// has a symbol and a colour, and its centroid is a large symbol.
func probeMap(r *probe.Result) template.HTML {
	const width, height, edge = 360., 300., 14.
	low, high := [2]float64{}, [2]float64{}
	for _, p := range r.Geometry.Map.Points {
		for k, v := range p {
			low[k], high[k] = min(low[k], v), max(high[k], v)
		}
	}
	at := func(p [2]float64) (x, y float64) {
		scale := func(k int, size float64) float64 {
			return edge + (size-2*edge)*(p[k]-low[k])/max(high[k]-low[k], 1e-12)
		}
		return scale(0, width), height - scale(1, height)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height,
		html.EscapeString(fmt.Sprintf("Map of %d clips of the classes %s on the first two principal components of their codes.", len(r.Geometry.Map.Points), strings.Join(r.Classes, ", "))))
	for i, p := range r.Geometry.Map.Points {
		x, y := at(p)
		b.WriteString(mark(r.Geometry.Map.Labels[i], x, y, 3, .6))
	}
	for c, p := range r.Geometry.Map.Centroids {
		x, y := at(p)
		b.WriteString(mark(c, x, y, 8, 1))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// mark is the symbol of a class: a circle, square, triangle or diamond of its colour.
func mark(class int, x, y, r, opacity float64) string {
	c := styles[class%len(styles)].color
	attributes := fmt.Sprintf(`fill="#%02x%02x%02x" fill-opacity="%g" stroke="#fff" stroke-width=".5"`, c.R, c.G, c.B, opacity)
	switch class % 4 {
	case 0:
		return fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="%g" %s/>`, x, y, r, attributes)
	case 1:
		return fmt.Sprintf(`<rect x="%.1f" y="%.1f" width="%g" height="%g" %s/>`, x-r, y-r, 2*r, 2*r, attributes)
	case 2:
		return fmt.Sprintf(`<polygon points="%.1f,%.1f %.1f,%.1f %.1f,%.1f" %s/>`, x, y-r, x+r, y+r, x-r, y+r, attributes)
	}
	return fmt.Sprintf(`<polygon points="%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f" %s/>`, x, y-1.3*r, x+1.3*r, y, x, y+1.3*r, x-1.3*r, y, attributes)
}

// Symbol is a class's mark for the legend.
func (p *Probe) Symbol(class int) template.HTML {
	return template.HTML(`<svg viewBox="0 0 36 10" aria-hidden="true">` + mark(class, 18, 5, 4, 1) + `</svg>`)
}
