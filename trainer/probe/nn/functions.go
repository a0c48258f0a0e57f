package nn

import "math"

func relu(x []float32) {
	for i, v := range x {
		if v < 0 {
			x[i] = 0
		}
	}
}

// reluGrad clears dx where the output y of relu is 0.
func reluGrad(dx, y []float32) {
	for i, v := range y {
		if v == 0 {
			dx[i] = 0
		}
	}
}

// Softmax turns logits into probabilities, in place.
func Softmax(z []float32) {
	top, sum := z[0], 0.
	for _, v := range z {
		top = max(top, v)
	}
	for i, v := range z {
		e := math.Exp(float64(v - top))
		z[i] = float32(e)
		sum += e
	}
	for i := range z {
		z[i] /= float32(sum)
	}
}

// CrossEntropy turns logits [rows,classes] into the gradient of the mean loss and returns the summed loss in nats.
func CrossEntropy(logits []float32, labels []int, classes int) (loss float64) {
	for r, label := range labels {
		row := logits[r*classes:][:classes]
		top := row[0]
		for _, v := range row {
			top = max(top, v)
		}
		sum := 0.
		for _, v := range row {
			sum += math.Exp(float64(v - top))
		}
		loss += math.Log(sum) - float64(row[label]-top)
		for k, v := range row {
			row[k] = float32(math.Exp(float64(v-top)) / sum / float64(len(labels)))
		}
		row[label] -= 1 / float32(len(labels))
	}
	return loss
}

// Argmax is the index of the largest value, the first of equal ones.
func Argmax(v []float32) (best int) {
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return best
}
