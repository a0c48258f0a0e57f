package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"magvit/trainer/metrics"
)

// Compared is what another network, trained on pixels, got on its own held-out
// clips.
type Compared struct {
	Run      string          `json:"run"`
	Preset   string          `json:"preset"`
	Accuracy *metrics.Number `json:"accuracy,omitempty"`
	Low      *metrics.Number `json:"low,omitempty"`
	High     *metrics.Number `json:"high,omitempty"`
	Splits   int             `json:"splits"` // 1 if the file does not say
	// ForecastError is in pixels of the image plane.
	ForecastError *metrics.Number `json:"forecast_error,omitempty"`
}

// compareFile is where a run keeps it.
const compareFile = "classify.json"

// ReadCompared reads the result of a classifying run.
func ReadCompared(run string) (c Compared, err error) {
	path := filepath.Join(run, compareFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return c, dataError{fmt.Errorf("probe: compare: %w; want the directory of a run that classified clips", err)}
	}
	var v struct {
		Compared
		Forecast *struct {
			Of    string          `json:"of"`
			Error *metrics.Number `json:"error"`
		} `json:"forecast"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return c, dataError{fmt.Errorf("probe: compare: %s: %w", path, err)}
	}
	if c = v.Compared; c.Preset == "" || c.Accuracy == nil || *c.Accuracy < 0 || *c.Accuracy > 1 {
		return c, dataError{fmt.Errorf("probe: compare: %s: want a preset, and an accuracy in [0,1]", path)}
	}
	if f := v.Forecast; c.ForecastError == nil && f != nil && f.Of != "space" {
		c.ForecastError = f.Error
	}
	c.Run, c.Splits = run, max(c.Splits, 1)
	return c, nil
}

// Text is accuracy and interval in percent.
func (c Compared) Text() string {
	s := (100 * *c.Accuracy).Text(1)
	if c.Low != nil && c.High != nil {
		s += fmt.Sprintf(" (%s–%s)", (100 * *c.Low).Text(1), (100 * *c.High).Text(1))
	}
	return s
}

// name says what a line of a table is of.
func (c Compared) name() string { return fmt.Sprintf("%s on pixels, %d split", c.Preset, c.Splits) }
