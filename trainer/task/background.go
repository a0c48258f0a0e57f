package task

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"magvit/trainer/config"
	"magvit/trainer/data"
)

// background returns the mean of at most meanSample training clips, to 2 decimals: decoders of other versions give the same.
func background(ctx context.Context, src data.Source, train []int, cfg data.Config) (float64, error) {
	frame, err := meanFrame(ctx, src, train, cfg)
	if err != nil {
		return 0, err
	}
	return math.Round(100*mean(frame)) / 100, nil
}

func mean(frame []float32) float64 {
	sum := 0.
	for _, v := range frame {
		sum += float64(v)
	}
	return sum / float64(max(len(frame), 1))
}

// maxBackgroundError is the distance of model.background from the clips' mean that is worth a warning. At 0.2 the first
// predictions are worse than 14 dB, and borders differ from what is inside.
const maxBackgroundError = .2

// WarnOfBackground warns where model.background is far from the mean of the training clips' mean frame. The numbers
// of compat: lucidrains are the reference's.
func WarnOfBackground(c config.Config, frame []float32, log *slog.Logger) {
	if m := mean(frame); frame != nil && c.Model.Compat == "" && math.Abs(c.Model.Background-m) > maxBackgroundError {
		log.Warn(fmt.Sprintf("model.background: %v, but the mean of the training clips is %.2f: training is slower; data.background=auto takes the mean", c.Model.Background, m))
	}
}
