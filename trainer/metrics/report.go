package metrics

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Number is a float64 whose JSON is null where it is NaN or infinite, as is the
// PSNR over a foreground that no frame has.
type Number float64

// Finite reports whether the number is neither NaN nor infinite.
func (n Number) Finite() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes null for NaN and the infinities.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Finite() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Report holds the numbers of a set of clips. PSNR is in dB, peak 1, of the
// squared error pooled over the values in question; SSIM is the mean over frames.
type Report struct {
	Clips           int               `json:"clips"`
	Frames          int               `json:"frames"`
	MSE             Number            `json:"mse"`
	PSNR            Number            `json:"psnr"`
	SSIM            Number            `json:"ssim"`
	ForegroundPSNR  Number            `json:"foreground_psnr"`
	ForegroundShare Number            `json:"foreground_share"` // of the pixels
	Baselines       map[string]Scores `json:"baselines"`        // by BaselineNames
	PerClass        map[string]Class  `json:"per_class"`
	PerFrame        []Frame           `json:"per_frame"`
	Codes           Codes             `json:"codes"`
	Grid            []int             `json:"grid,omitempty"`         // T', H', W' of a clip's codes
	BitsPerPixel    Number            `json:"bits_per_pixel"`         // log2 of the codebook's size for each code, over the pixels of a frame
	Compression     Number            `json:"compression"`            // 8 bits a channel of a pixel over BitsPerPixel
	EntropyRate     Number            `json:"entropy_bits_per_pixel"` // the same of codes that are coded by their frequencies
	Codecs          []CodecScores     `json:"codecs,omitempty"`       // of package videocodec, at BitsPerPixel
	Worst           []Clip            `json:"worst"`
	Best            []Clip            `json:"best"`
}

// BaselineNames lists the guesses that need no tokenizer: an all-white frame, the
// mean frame of the training clips, the clip's first frame repeated, and the previous
// frame (for the first frame: itself). The last one uses the original of every other
// frame; it is reported for comparison, but is not among those of BestBaseline.
// Where every clip is a single frame, the last two would be copies and are left out.
var BaselineNames = []string{"white", "mean_frame", "first_frame", "previous_frame"}

// trivial are the baselines that a reconstruction has to exceed.
var trivial = []guess{white, meanFrame, firstFrame}

// Scores of one guess.
type Scores struct {
	PSNR           Number `json:"psnr"`
	ForegroundPSNR Number `json:"foreground_psnr"`
	SSIM           Number `json:"ssim"`
}

// CodecScores is what a video codec makes of the same clips.
type CodecScores struct {
	Name         string `json:"name"`
	Settings     string `json:"settings"`          // encoder, preset and constant rate factor
	Missing      string `json:"missing,omitempty"` // why there are no numbers; "": there are
	BitsPerPixel Number `json:"bits_per_pixel"`    // of its packets, without container and shared headers
	Scores
}

// Class holds the numbers of one class, and the best that a trivial baseline reaches there.
type Class struct {
	Clips          int    `json:"clips"`
	PSNR           Number `json:"psnr"`
	ForegroundPSNR Number `json:"foreground_psnr"`
	SSIM           Number `json:"ssim"`
	Baseline       Scores `json:"best_baseline"`
}

// Frame holds the numbers of all frames with one index in their clips, counted from 0.
type Frame struct {
	Frame          int    `json:"frame"`
	PSNR           Number `json:"psnr"`
	ForegroundPSNR Number `json:"foreground_psnr"`
	Baseline       Scores `json:"best_baseline"`
}

// Codes describes the use of the codebook.
type Codes struct {
	Size         int    `json:"size"`             // K
	Levels       []int  `json:"levels,omitempty"` // values of each digit
	Count        int64  `json:"count"`            // codes counted
	Used         int    `json:"used"`             // different ones among them
	UsedFraction Number `json:"used_fraction"`    // Used/Size
	Perplexity   Number `json:"perplexity"`       // exp of the entropy: 1 collapsed, K evenly used
	EntropyBits  Number `json:"entropy_bits"`     // at most log2 K
	Digits       int    `json:"digits"`           // bits of the index, or dimensions of FSQ
	DeadBits     int    `json:"dead_bits"`        // digits that never change
	Ranks        []Rank `json:"ranks"`            // frequencies at some ranks, three to an octave
}

// Rank is the index of a code when codes are sorted by frequency, the most frequent
// first, and its fraction of all codes.
type Rank struct {
	Rank  int    `json:"rank"` // from 1
	Share Number `json:"share"`
}

// DigitName is what the digits of a code are: "bits", "dimensions" of more values, or ""
// where a code has one digit alone, as those of a learned codebook have.
func (c Codes) DigitName() string {
	switch {
	case !slices.ContainsFunc(c.Levels, func(l int) bool { return l > 2 }):
		return "bits"
	case len(c.Levels) == 1:
		return ""
	}
	return "dimensions"
}

// Reachable is the largest number of different codes that could have been counted.
func (c Codes) Reachable() int { return int(min(int64(c.Size), c.Count)) }

// Clip is one clip by name with its own PSNR.
type Clip struct {
	Name           string `json:"name"`
	PSNR           Number `json:"psnr"`
	ForegroundPSNR Number `json:"foreground_psnr"`
}

// Report computes the numbers of the clips added; null in JSON where there were none.
func (a *Accumulator) Report() Report {
	t := &a.total
	r := Report{Clips: t.clips, Frames: a.frames, MSE: t.of[recon].mse(),
		PSNR: t.of[recon].psnr(), SSIM: t.of[recon].meanSSIM(), ForegroundPSNR: t.of[recon].foreground(),
		ForegroundShare: Number(float64(t.of[recon].nFront) / float64(t.of[recon].n)),
		Baselines:       map[string]Scores{}, PerClass: map[string]Class{},
		PerFrame: []Frame{}, Codes: a.codes.report()}
	r.BitsPerPixel = Number(float64(r.Codes.Count) * math.Log2(float64(r.Codes.Size)) / float64(a.frames*a.cfg.H*a.cfg.W))
	r.EntropyRate = Number(float64(r.Codes.Count)*float64(r.Codes.EntropyBits)) / Number(a.frames*a.cfg.H*a.cfg.W)
	r.Compression = Number(8*float64(a.cfg.C)) / r.BitsPerPixel
	still := len(a.frame) < 2
	for g := white; g < guesses; g++ {
		if g == meanFrame && a.cfg.MeanFrame != nil || g == white || g > meanFrame && !still {
			r.Baselines[BaselineNames[g-white]] = t.scores(g)
		}
	}
	for _, label := range slices.Sorted(maps.Keys(a.class)) {
		g := a.class[label]
		name := fmt.Sprintf("class %d", label)
		if label < len(a.cfg.Classes) {
			name = a.cfg.Classes[label]
		}
		s := g.scores(recon)
		r.PerClass[name] = Class{Clips: g.clips, PSNR: s.PSNR, ForegroundPSNR: s.ForegroundPSNR, SSIM: s.SSIM, Baseline: g.best(still)}
	}
	for f := range a.frame {
		s := a.frame[f].scores(recon)
		r.PerFrame = append(r.PerFrame, Frame{Frame: f, PSNR: s.PSNR, ForegroundPSNR: s.ForegroundPSNR, Baseline: a.frame[f].best(f == 0)})
	}
	sorted := slices.SortedFunc(slices.Values(a.clips), func(x, y Clip) int {
		return cmp.Or(cmp.Compare(x.PSNR, y.PSNR), cmp.Compare(x.Name, y.Name))
	})
	n := min(extremes, len(sorted))
	r.Worst = append([]Clip{}, sorted[:n]...)
	r.Best = append([]Clip{}, sorted[len(sorted)-n:]...)
	slices.Reverse(r.Best)
	return r
}

func (g *group) scores(of guess) Scores {
	e := g.of[of]
	return Scores{PSNR: e.psnr(), ForegroundPSNR: e.foreground(), SSIM: e.meanSSIM()}
}

// best is the maximum of each number over the trivial baselines. With `still` the first
// frame is not among them, because it is the frame itself.
func (g *group) best(still bool) Scores {
	b := Scores{Number(math.NaN()), Number(math.NaN()), Number(math.NaN())}
	for _, of := range trivial {
		if of == firstFrame && still {
			continue
		}
		s := g.scores(of)
		b.PSNR, b.ForegroundPSNR, b.SSIM = higher(b.PSNR, s.PSNR), higher(b.ForegroundPSNR, s.ForegroundPSNR), higher(b.SSIM, s.SSIM)
	}
	return b
}

func higher(a, b Number) Number {
	if !a.Finite() || b > a {
		return b
	}
	return a
}

// BestBaseline is the trivial baseline (white, mean_frame, first_frame) with the
// highest score by `of`, and that score; "" and NaN where there is none.
func (r Report) BestBaseline(of func(Scores) Number) (name string, best Number) {
	best = Number(math.NaN())
	for _, g := range trivial {
		n := BaselineNames[g-white]
		if s, ok := r.Baselines[n]; ok && of(s).Finite() && !(of(s) <= best) {
			name, best = n, of(s)
		}
	}
	return name, best
}
