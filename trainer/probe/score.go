package probe

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"magvit/trainer/metrics"
)

// Score is a head's accuracy on the clips tested, in [0,1]. Low and High bound a
// 95 % interval of the mean over splits.
type Score struct {
	Accuracy  metrics.Number   `json:"accuracy"`
	Low       metrics.Number   `json:"low"`
	High      metrics.Number   `json:"high"`
	Head      string           `json:"head,omitempty"` // of a best score: which head it is
	PerSplit  []metrics.Number `json:"per_split"`
	Confusion [][]int          `json:"confusion,omitempty"` // of a best score: [class][predicted] clips, summed over splits
	PerClass  []ClassScore     `json:"per_class,omitempty"` // of a best score, in the order of classes
}

// ClassScore is the recall and precision of one class.
type ClassScore struct {
	Class     string         `json:"class"`
	Recall    metrics.Number `json:"recall"`    // fraction of the class's clips that are classified as it
	Precision metrics.Number `json:"precision"` // fraction of the clips classified as it that are of the class
}

// interval is the mean of a number over splits, and bounds of 95 %.
//
// Why not the plain standard error: repeated splits have clips in common, so their results
// depend on each other. Nadeau and Bengio (2003) correct the variance of the mean
// from 1/n to 1/n + tested/fitted; bounds are Student's t with n-1 degrees.
func interval(perSplit []metrics.Number, tested, fitted int) (mean, low, high metrics.Number) {
	x := make([]float64, len(perSplit))
	for i, a := range perSplit {
		x[i] = float64(a)
	}
	n := float64(len(x))
	m, half := stat.Mean(x, nil), 0.
	if n > 1 {
		half = distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(.975) *
			math.Sqrt((1/n+float64(tested)/float64(fitted))*stat.Variance(x, nil))
	}
	return metrics.Number(m), metrics.Number(m - half), metrics.Number(m + half)
}

func accuracy(predicted, clips, labels []int) float64 {
	correct := 0
	for k, c := range clips {
		if predicted[k] == labels[c] {
			correct++
		}
	}
	return float64(correct) / float64(len(clips))
}

// scores averages a kind of features over splits: outcomes[split][head]. The best
// head is the one with the highest mean accuracy on the clips for early stopping, which
// are never those tested in the same split; of equal ones the first of HeadNames.
func scores(outcomes []map[string]outcome, splits []split, labels func(split int) []int, classes []string) map[string]Score {
	all := map[string]Score{}
	best, highest := "", -1.
	for _, head := range HeadNames {
		if _, ok := outcomes[0][head]; !ok {
			continue
		}
		var s Score
		stop := 0.
		for r, o := range outcomes {
			s.PerSplit = append(s.PerSplit, metrics.Number(accuracy(o[head].test, splits[r].test, labels(r))))
			stop += accuracy(o[head].stop, splits[r].stop, labels(r))
		}
		s.Accuracy, s.Low, s.High = interval(s.PerSplit, len(splits[0].test), len(splits[0].fit)+len(splits[0].stop))
		s.Low, s.High = max(s.Low, 0), min(s.High, 1)
		all[head] = s
		if stop > highest {
			best, highest = head, stop
		}
	}
	s := all[best]
	s.Head = best
	s.Confusion = make([][]int, len(classes))
	for c := range classes {
		s.Confusion[c] = make([]int, len(classes))
	}
	for r, o := range outcomes {
		for k, c := range splits[r].test {
			s.Confusion[labels(r)[c]][o[best].test[k]]++
		}
	}
	for c, name := range classes {
		var row, column float64
		for k := range classes {
			row, column = row+float64(s.Confusion[c][k]), column+float64(s.Confusion[k][c])
		}
		hit := float64(s.Confusion[c][c])
		s.PerClass = append(s.PerClass, ClassScore{name, metrics.Number(hit / row), metrics.Number(hit / column)})
	}
	all[BestName] = s
	return all
}
