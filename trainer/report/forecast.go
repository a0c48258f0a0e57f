package report

import (
	"encoding/json"
	"path/filepath"

	"gonum.org/v1/plot/plotter"

	"magvit/trainer/probe"
)

// Forecast is the result of forecasts from codes with what the page draws of it.
type Forecast struct {
	*probe.ForecastResult
	Rows  []ForecastRow
	Chart []Chart // one
}

// ForecastRow is a way to forecast and its errors in pixels.
type ForecastRow struct {
	Name string
	probe.Errors
}

// loadForecast reads forecast.json. It is nil if there is none or it cannot be parsed;
// the page is written without it.
func loadForecast(dir string) (*Forecast, error) {
	text, err := optional(filepath.Join(dir, probe.ForecastFileName))
	if err != nil || text == nil {
		return nil, err
	}
	f := &Forecast{ForecastResult: &probe.ForecastResult{}}
	if json.Unmarshal(text, f.ForecastResult) != nil || f.Forecast.Horizon < 1 {
		return nil, nil
	}
	f.Rows = []ForecastRow{
		{"from codes", f.Forecast.Codes}, {"from pixels, the same heads", f.Forecast.Pixels}, {"from measured positions, the same heads", f.Forecast.Path},
		{"constant position", f.Forecast.ConstantPosition}, {"constant velocity", f.Forecast.ConstantVelocity},
	}
	var curves []curve
	for _, i := range []int{0, 3, 4} {
		c := curve{name: f.Rows[i].Name}
		for step, e := range f.Rows[i].PerStep {
			if e.Finite() {
				c.xy = append(c.xy, plotter.XY{X: float64(step + 1), Y: float64(e)})
			}
		}
		curves = append(curves, c)
	}
	c, ok, err := chart("Error of forecasts, pixels", "Mean distance between forecast and actual position, by frames after the last one seen.",
		xAxis{"frames ahead", 1, float64(max(f.Forecast.Horizon, 2)), false}, false, curves...)
	if ok {
		f.Chart = []Chart{c}
	}
	return f, err
}
