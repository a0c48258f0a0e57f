package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// Compared is the accuracy of a network that was trained on pixels, on its own held-out
// clips.
type Compared struct {
	Run      string         `json:"run"`
	Preset   string         `json:"preset"`
	Accuracy metrics.Number `json:"accuracy"`
	Low      metrics.Number `json:"low"` // bounds of a 95 % interval
	High     metrics.Number `json:"high"`
	Splits   int            `json:"splits"` // 1 if the file has none
	// ForecastError is in pixels of the image plane.
	ForecastError *metrics.Number `json:"forecast_error,omitempty"`
}

// compareFile is the file of a run that holds it.
const compareFile = "classify.json"

// ReadCompared reads the result of a classifier's run.
func ReadCompared(run string) (c Compared, err error) {
	path := filepath.Join(run, compareFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return c, usage.Errorf("probe: compare: %w; want the directory of a run that classified clips", err)
	}
	var v struct {
		Compared
		Forecast *struct {
			Of    string          `json:"of"`
			Error *metrics.Number `json:"error"`
		} `json:"forecast"`
	}
	v.Accuracy, v.Low, v.High = -1, -1, -1
	if err := json.Unmarshal(text, &v); err != nil {
		return c, usage.Errorf("probe: compare: %s: %w", path, err)
	}
	if c = v.Compared; c.Preset == "" || c.Low < 0 || c.Low > c.Accuracy || c.Accuracy > c.High || c.High > 1 {
		return c, usage.Errorf("probe: compare: %s: want a preset, and 0 <= low <= accuracy <= high <= 1", path)
	}
	if f := v.Forecast; c.ForecastError == nil && f != nil && f.Of != "space" {
		c.ForecastError = f.Error
	}
	c.Run, c.Splits = run, max(c.Splits, 1)
	return c, nil
}

// name is the first cell of a row of the table.
func (c Compared) name() string {
	s := "s"
	if c.Splits == 1 {
		s = ""
	}
	return fmt.Sprintf("%s on pixels, %d split%s", c.Preset, c.Splits, s)
}
