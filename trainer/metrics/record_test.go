package metrics

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// A term is a key of its own after the loss, for any name; the line is read as it was
// written.
func TestStepRecordHasAKeyForEachTerm(t *testing.T) {
	r := StepRecord{Step: 20, Loss: .5, Terms: Terms{{"recon", .25}, {"some_new_term", -3}}, CodesUsed: 7, LR: .001, GradNorm: 2, ClipsPerSecond: 9, Seconds: 1, Waiting: 0}
	const want = `{"step":20,"loss":0.5,"recon":0.25,"some_new_term":-3,"codes_used":7,"lr":0.001,"grad_norm":2,"clips_per_s":9,"seconds":1,"waiting":0}`
	got, err := json.Marshal(r)
	if err != nil || string(got) != want {
		t.Fatalf("%s, %v\nwant %s", got, err, want)
	}
	var back StepRecord
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("read back as %+v, %v", back, err)
	}
	if v := back.Terms.Of("some_new_term"); v != -3 {
		t.Errorf("some_new_term is %v, want -3", v)
	}
	if v := back.Terms.Of("forecast"); !math.IsNaN(float64(v)) {
		t.Errorf("a term that is not there is %v, want NaN", v)
	}
}

// Values that are no numbers are null; objects of an evaluation in the same line are no terms.
func TestStepRecordReadsLinesOfEvaluations(t *testing.T) {
	var r StepRecord
	if err := json.Unmarshal([]byte(`{"step":3,"loss":null,"recon":null,"val":{"psnr":20},"text":"x"}`), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Terms) != 1 || r.Terms[0].Name != "recon" || r.Terms[0].Value.Finite() || r.Loss.Finite() {
		t.Errorf("%+v, want a recon that is not known", r)
	}
	got, err := json.Marshal(StepRecord{Terms: Terms{{"recon", Number(math.NaN())}}})
	if want := `{"step":0,"loss":0,"recon":null,"lr":0,"grad_norm":0,"clips_per_s":0,"seconds":0,"waiting":0}`; err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
