package probe

import "math"

// Candidates are forecasts of one clip, equally likely ones.
type Candidates struct{ paths []path }

// Add measures the path of a forecast.
func (c *Candidates) Add(e Example) { c.paths = append(c.paths, trackWeighted(e)) }

// Central is the number of the forecast whose path has the least mean distance from the paths
// of all: that of the least expected error among them (minimum Bayes risk).
func (c *Candidates) Central() (best int) {
	least := math.Inf(1)
	for i, p := range c.paths {
		sum := 0.
		for _, q := range c.paths {
			for t := range p {
				sum += math.Hypot(p[t][0]-q[t][0], p[t][1]-q[t][1])
			}
		}
		if sum < least {
			best, least = i, sum
		}
	}
	return best
}
