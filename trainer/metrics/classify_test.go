package metrics

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Wilson's interval of 30 of 40, of none and of all of 10: the formula worked by hand.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		right, n  int
		low, high float64
	}{{30, 40, .5981, .8581}, {0, 10, 0, .2775}, {10, 10, .7225, 1}} {
		low, high := Wilson(c.right, c.n)
		if math.Abs(float64(low)-c.low) > 1e-4 || math.Abs(float64(high)-c.high) > 1e-4 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", c.right, c.n, low, high, c.low, c.high)
		}
	}
	if low, _ := Wilson(0, 0); low.Finite() {
		t.Errorf("none of none: %v", low)
	}
}

// Three clips of two classes, two of them told; softmaxes of 3/4 and 1/2.
func TestClassifier(t *testing.T) {
	ln3 := float32(math.Log(3))
	c := NewClassifier([]string{"up", "down"}, 2)
	c.Predict(0, []float32{ln3, 0})
	c.Predict(1, []float32{7, 7 + ln3})
	c.Predict(1, []float32{2, 2}) // a tie goes to the first
	c.Forecast(1, [][4]float64{{1, 2, 3, 4}, {3, 4, 5, 6}})
	c.Forecast(-1, [][4]float64{{5, 6, 7, 8}}) // a clip that ends early
	r := c.Report()
	if diff := cmp.Diff([][]int{{1, 0}, {1, 1}}, r.Confusion); diff != "" {
		t.Error(diff)
	}
	near := func(what string, got Number, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("accuracy", r.Accuracy, 2./3)
	near("cross-entropy", r.CrossEntropy, (2*math.Log(4./3)+math.Ln2)/3)
	near("chance", r.Chance, .5)
	near("majority", r.Majority, 2./3)
	near("recall of down", r.PerClass[1].Recall, .5)
	near("precision of up", r.PerClass[0].Precision, .5)
	near("forecast", r.Forecast.Error, 3)
	near("constant velocity", r.Forecast.ConstantVelocity, 5)
	near("velocity of measured positions", r.Forecast.MeasuredVelocity, 6)
	near("forecast of down", r.Forecast.PerClass[1].Error, 2)
	near("forecast of the first frame", r.Forecast.PerFrame[0].Error, 3)
	if r.Clips != 3 || r.Forecast.Clips != 2 || r.Forecast.PerClass[0].Error.Finite() {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Classification
	if err := json.Unmarshal(text, &back); err != nil || back.Confusion[1][0] != 1 {
		t.Errorf("read back: %v, %v", err, back)
	}
	r.Forecast.Unit, r.Forecast.Seen = "pixels", 6
	var b bytes.Buffer
	if err := WriteClassification(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"accuracy  66.7 % (95 %: 20.8 to 93.9) of 3 clips; chance 50.0, majority 66.7", "last 2 frames from the first 6, mean distance in pixels, 2 clips", "frame +2"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// Without labels or positions there are no numbers, not zeros.
func TestClassifierOfNothing(t *testing.T) {
	r := NewClassifier(nil, 3).Report()
	if r.Accuracy.Finite() || r.Chance.Finite() || r.Forecast != nil || r.Clips != 0 {
		t.Errorf("%+v", r)
	}
}
