package quality

import (
	"fmt"
	"io"
	"strings"

	"magvit/trainer/metrics"
)

// WriteText prints a report for a terminal.
func WriteText(w io.Writer, r Report) error {
	var b strings.Builder
	rows := [][]string{{fmt.Sprintf("%d clips, %d frames", r.Clips, r.Frames), "value", "95 % interval", "better"}}
	var notes []string
	for _, m := range r.Metrics {
		name := m.Name
		if m.Unit != "" {
			name += ", " + m.Unit
		}
		span := "–"
		if m.Low.Finite() {
			span = m.Low.Text(4) + " to " + m.High.Text(4)
		}
		better := m.Better
		if better == "1" {
			better = "near 1"
		}
		rows = append(rows, []string{name, m.Value.Text(4), span, better})
		if m.Note != "" {
			notes = append(notes, m.Name+": "+m.Note+".")
		}
	}
	metrics.WriteTable(&b, rows)
	for _, n := range notes {
		b.WriteString(n + "\n")
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n")+"\n")
	return err
}
