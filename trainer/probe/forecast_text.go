package probe

import (
	"fmt"
	"io"
	"strings"

	"magvit/trainer/metrics"
)

// Text is a mean and its interval.
func (e Errors) Text(decimals int) string {
	return fmt.Sprintf("%s (%s–%s)", e.Error.Text(decimals), e.Low.Text(decimals), e.High.Text(decimals))
}

func (p Picture) cells(name string) []string {
	return []string{name, p.PSNR.Text(1), fmt.Sprintf("%s (%s–%s)", p.ForegroundPSNR.Text(1), p.Low.Text(1), p.High.Text(1))}
}

func (r ForecastResult) verdict() (list []Finding) {
	f := r.Forecast
	image := Finding{"poor", "Forecast in the image", "Forecasts from the codes are no better than constant velocity."}
	if won, all := splitsWon(f.Codes, f.ConstantVelocity); won == all && f.Codes.Error < f.ConstantVelocity.Error {
		image.Level, image.Text = "good", "Forecasts from the codes are better than constant velocity, in every split."
	} else if f.Codes.Error < f.ConstantVelocity.Error {
		image.Level, image.Text = "fair", fmt.Sprintf("Forecasts from the codes are better than constant velocity in %d of %d splits.", won, all)
	}
	image.Text += fmt.Sprintf(" Their mean error is %s pixels; constant velocity from the true positions has %s, constant position %s, the same head on pixels %s and on the true positions %s.",
		f.Codes.Error.Text(2), f.ConstantVelocity.Error.Text(2), f.ConstantPosition.Error.Text(2), f.Pixels.Error.Text(2), f.Path.Error.Text(2))
	list = append(list, image)
	if s := f.Space; s != nil {
		q := Finding{"fair", "Forecast in space", "With an unknown camera, position, depth and scale in space are undetermined, so the error is large whatever the codes hold."}
		if s.Codes.Error < s.ConstantVelocity.Error {
			q.Level, q.Text = "good", "Positions in space are forecast better than by constant velocity: the camera seems to be the same for all clips."
		}
		q.Text += fmt.Sprintf(" It is %s from codes; constant velocity from the true positions has %s, constant position %s.",
			s.Codes.Error.Text(3), s.ConstantVelocity.Error.Text(3), s.ConstantPosition.Error.Text(3))
		list = append(list, q)
	}
	if p := f.Frames; p != nil {
		q := Finding{"poor", "Frames", "Frames predicted through codes are no better than the last frame seen."}
		if p.Codes.ForegroundPSNR > p.CopyLast.ForegroundPSNR {
			q.Level, q.Text = "good", "Frames predicted through codes are better than the last frame seen."
		}
		q.Text += fmt.Sprintf(" On the foreground they have %s dB, copies of the last frame %s, and the true codes, decoded, %s.",
			p.Codes.ForegroundPSNR.Text(1), p.CopyLast.ForegroundPSNR.Text(1), p.Decoded.ForegroundPSNR.Text(1))
		list = append(list, q)
	}
	return list
}

// splitsWon counts the splits in which a has the smaller error.
func splitsWon(a, b Errors) (won, all int) {
	for i := range a.PerSplit {
		if a.PerSplit[i] < b.PerSplit[i] {
			won++
		}
	}
	return won, len(a.PerSplit)
}

// About summarizes in one line what was fitted and tested.
func (r ForecastResult) About() string {
	views := ""
	if r.Views > 1 {
		views = fmt.Sprintf(" in %d views each", r.Views)
	}
	return fmt.Sprintf("%d clips; %d frames seen, %d forecast; %d splits (seed %d): %d clips%s to fit, %d to test",
		r.Clips, r.Forecast.Observed, r.Forecast.Horizon, r.Splits, r.Seed, r.Fitted, views, r.Tested)
}

// WriteForecast prints a result for a terminal, the verdict first.
func WriteForecast(w io.Writer, r ForecastResult) error {
	var b strings.Builder
	for _, f := range r.Verdict {
		fmt.Fprintf(&b, "%s: %s. %s\n", f.About, f.Level, f.Text)
	}
	fmt.Fprintf(&b, "\n%s\n\n", r.About())
	head := []string{"mean distance, 95 % interval"}
	for a := range r.Forecast.Horizon {
		head = append(head, fmt.Sprintf("+%d", a+1))
	}
	row := func(name string, e Errors, decimals int) []string {
		cells := []string{name, e.Text(decimals)}
		for _, n := range e.PerStep {
			cells = append(cells, n.Text(decimals))
		}
		for _, n := range e.PerClass {
			cells = append(cells, n.Text(decimals))
		}
		return cells
	}
	table := func(title string, decimals int, names []string, list ...Errors) {
		rows := [][]string{append(append([]string{title, head[0]}, head[1:]...), r.Classes...)}
		for i, e := range list {
			rows = append(rows, row(names[i], e, decimals))
		}
		metrics.WriteTable(&b, rows)
	}
	f := r.Forecast
	table("in the image, pixels", 2, []string{"codes", "pixels", "true positions, same head", "constant velocity", "constant position"},
		f.Codes, f.Pixels, f.Path, f.ConstantVelocity, f.ConstantPosition)
	for _, c := range r.Compared {
		if c.ForecastError != nil {
			fmt.Fprintf(&b, "%s: %s pixels\n\n", c.name(), c.ForecastError.Text(2))
		}
	}
	if s := f.Space; s != nil {
		table("in space", 3, []string{"codes", "constant velocity", "constant position"}, s.Codes, s.ConstantVelocity, s.ConstantPosition)
	}
	if p := f.Frames; p != nil {
		metrics.WriteTable(&b, [][]string{{"frames", "PSNR dB", "foreground"}, p.Codes.cells("codes predicted"), p.CopyLast.cells("last frame copied"), p.Decoded.cells("true codes decoded")})
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}
