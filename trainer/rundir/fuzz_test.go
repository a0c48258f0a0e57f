package rundir

import "testing"

// FuzzRecords: every line of metrics.jsonl is kept, damaged, or of a later step.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"step":0,"val":{"clips":1,"psnr":1.5}}`+"\n"+`{"step":1,"loss":2,"seconds":1}`+"\n"), 1)
	f.Add([]byte(`{"step":5,"classify":{"accuracy":1}}`+"\n\nx\n"), 9)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		r := recordsUntil(text, step)
		if len(r.kept)+len(r.damaged) > len(text) || r.last > max(step, -1) {
			t.Errorf("%d bytes kept, %d damaged of %d; last step %d", len(r.kept), len(r.damaged), len(text), r.last)
		}
		again := recordsUntil(r.kept, step)
		if string(again.kept) != string(r.kept) || again.count != 0 {
			t.Errorf("what was kept is damaged: %q", again.damaged)
		}
	})
}
