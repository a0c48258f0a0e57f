package probe

import (
	"fmt"
	"io"
	"strings"

	"magvit/trainer/metrics"
)

// Column is a kind of features in a table of scores.
type Column struct {
	Name   string
	Scores map[string]Score
}

// Columns are the kinds of features on which every head was scored.
func (r Result) Columns() []Column {
	list := []Column{{"codes", r.Codes}}
	if r.Latents != nil {
		list = append(list, Column{"latents", r.Latents})
	}
	return append(list, Column{"pixels", r.Pixels}, Column{"codes, shuffled labels", r.Shuffled})
}

// NamedScore is a score with the name of its features.
type NamedScore struct {
	Name string
	Score
}

// OtherScores are those that are not by head: trivial features, the path, networks on pixels.
func (r Result) OtherScores() (list []NamedScore) {
	for _, name := range Shortcuts {
		list = append(list, NamedScore{inWords(name), r.Motion[name]})
	}
	list = append(list, NamedScore{"path (a perfect locator)", r.Track})
	for _, c := range r.Compared {
		list = append(list, NamedScore{c.name(), Score{Accuracy: c.Accuracy, Low: c.Low, High: c.High}})
	}
	return list
}

// Text is accuracy and interval in percent.
func (s Score) Text() string {
	return fmt.Sprintf("%s (%s–%s)", (100 * s.Accuracy).Text(1), (100 * s.Low).Text(1), (100 * s.High).Text(1))
}

// About summarizes in one line what was fitted and tested.
func (r Result) About() string {
	n := 0
	for _, c := range r.Clips {
		n += c
	}
	views := ""
	if r.Views > 1 {
		views = fmt.Sprintf(" in %d views each", r.Views)
	}
	return fmt.Sprintf("%d clips of %d classes; %d stratified splits (seed %d): %d clips%s to fit, %d for early stopping, %d to test",
		n, len(r.Classes), r.Splits, r.Seed, r.Fitted, views, r.Stopped, r.Tested)
}

// WriteText prints a result for a terminal, the verdict first.
func WriteText(w io.Writer, r Result) error {
	var b strings.Builder
	for _, f := range r.Verdict {
		fmt.Fprintf(&b, "%s: %s. %s\n", f.About, f.Level, f.Text)
	}
	fmt.Fprintf(&b, "\n%s.\n\n", r.About())
	head := []string{"accuracy %, 95 % interval"}
	for _, c := range r.Columns() {
		head = append(head, c.Name)
	}
	t := [][]string{head}
	for _, name := range append(append([]string{}, HeadNames...), BestName) {
		row := []string{name}
		for _, c := range r.Columns() {
			s := c.Scores[name]
			row = append(row, s.Text())
			if name == BestName {
				row[len(row)-1] = s.Head + " " + s.Text()
			}
		}
		t = append(t, row)
	}
	metrics.WriteTable(&b, t)
	t = [][]string{{"other features", "accuracy %, 95 % interval"}}
	for _, l := range r.OtherScores() {
		t = append(t, []string{l.Name, l.Text()})
	}
	t = append(t, []string{"chance", (100 * r.Chance).Text(1)}, []string{"majority", (100 * r.Majority).Text(1)})
	metrics.WriteTable(&b, t)
	best := r.Codes[BestName]
	t = [][]string{append(append([]string{"class, as predicted from codes by " + best.Head}, r.Classes...), "recall %", "precision %")}
	for c, name := range r.Classes {
		row := []string{name}
		for _, n := range best.Confusion[c] {
			row = append(row, fmt.Sprint(n))
		}
		t = append(t, append(row, (100*best.PerClass[c].Recall).Text(1), (100*best.PerClass[c].Precision).Text(1)))
	}
	metrics.WriteTable(&b, t)
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}
