package report

import (
	"encoding/json"
	"path/filepath"

	"gonum.org/v1/plot/plotter"

	"magvit/trainer/probe"
)

// Forecast is what the page shows of forecasts from codes.
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

// loadForecast reads forecast.json; nil if there is none or it cannot be understood,
// which is no reason to refuse the page.
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
		{"it stays where it is", f.Forecast.ConstantPosition}, {"it goes on as it did", f.Forecast.ConstantVelocity},
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
	c, ok, err := chart("Error of forecasts, pixels", "Mean distance to where the thing is so many frames after the last one seen.",
		across{"frames ahead", 1, float64(max(f.Forecast.Horizon, 2)), false}, false, curves...)
	if ok {
		f.Chart = []Chart{c}
	}
	return f, err
}
