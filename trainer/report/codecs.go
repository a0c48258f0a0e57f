package report

import (
	"encoding/json"
	"path/filepath"

	"magvit/trainer/videocodec"
)

// loadCodecs reads codecs.json. It is nil if there is none or it cannot be parsed; the page
// is written without it.
func loadCodecs(dir string) (*videocodec.Comparison, error) {
	text, err := optional(filepath.Join(dir, videocodec.FileName))
	if err != nil || text == nil {
		return nil, err
	}
	var c videocodec.Comparison
	if json.Unmarshal(text, &c) != nil || len(c.Codecs) == 0 {
		return nil, nil
	}
	return &c, nil
}
