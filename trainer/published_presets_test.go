package trainer

import (
	"testing"

	"magvit/model"
	"magvit/trainer/config"
)

// The numbers of parameters are those that the projects' networks have; VidTok's logarithm
// of the loss's scale is one more.
func TestPresetsOfPublishedTokenizers(t *testing.T) {
	for name, want := range map[string]struct {
		frames, codes, params int
	}{
		"magvit2-paper":                {17, 5 * 16 * 16, 370_547_349},
		"open-magvit2-video":           {17, 5 * 16 * 16, 370_547_349},
		"open-magvit2-image-128":       {1, 16 * 16, 112_021_653},
		"open-magvit2-image-256":       {1, 16 * 16, 115_127_829},
		"open-magvit2-image-256-16384": {1, 16 * 16, 115_094_033},
		"vidtok-fsq-488":               {17, 5 * 16 * 16, 157_451_661 + 1},
		"vidtok-fsq-488-32768":         {17, 5 * 16 * 16, 157_424_012 + 1},
		"vidtok-fsq-488-4096":          {17, 5 * 16 * 16, 157_396_363 + 1},
		"vidtok-fsq-41616":             {17, 5 * 8 * 8, 198_967_949 + 1},
		"vidtok-fsq-41616-v1.1":        {17, 5 * 8 * 8, 198_967_949 + 1},
		"vidtok-fsq-488-v1.1":          {17, 5 * 16 * 16, 157_424_012 + 1},
		"vidtok-fsq-888-v1.1":          {17, 3 * 16 * 16, 164_944_910 + 1},
		"cosmos-dv4x8x8":               {17, 5 * 16 * 16, 104_669_558},
		"cosmos-dv8x8x8":               {17, 3 * 16 * 16, 105_653_366},
		"cosmos-dv8x16x16":             {17, 3 * 8 * 8, 110_898_294},
		"cosmos-dv4x8x8-360p":          {17, 5 * 16 * 16, 112_619_766},
	} {
		c, err := config.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := model.New(c.Model)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.NumParams(); got != want.params {
			t.Errorf("%s: %d parameters, want %d", name, got, want.params)
		}
		s := model.Shape{N: 1, T: c.Data.Frames, H: c.Model.ImageSize, W: c.Model.ImageSize}
		if err := tok.Check(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if codes := tok.CodeShape(s); s.T != want.frames || codes[1]*codes[2]*codes[3] != want.codes {
			t.Errorf("%s: %d frames make codes %v, want %d of %d frames", name, s.T, codes, want.codes, want.frames)
		}
	}
}
