package quality

// FileName is the file in a run's directory that holds a Saved.
const FileName = "quality.json"

// Saved is what magvit eval --metrics found of a run's checkpoint.
type Saved struct {
	Step  int    `json:"step"`
	Split string `json:"split"`
	Report
}
