package report

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzReport: whatever a run directory holds, a report is written or there is an error.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"step":0,"val":{"clips":1,"frames":2,"psnr":1.5,"codes":{"used":3,"codebook":8,"histogram":[1,2]}}}`+"\n"+`{"step":10,"loss":2,"seconds":1,"lr":1e-3,"grad_norm":3,"clips_per_s":1e308,"codes_used":3}`+"\n"), []byte("train: {steps: 3}\nseed: 3\n"), []byte(`{"device":"cpu"}`))
	f.Add([]byte(`{"step":1000000000000000000,"loss":1e308}`+"\n"+`{"step":-5,"loss":-1e308}`+"\n"+`{"step":7,"loss":1e-320}`+"\n"), []byte(""), []byte(`{}`))
	f.Add([]byte(`{"step":5,"classify":{"accuracy":1,"classes":["a"],"confusion":[[1]],"forecast":{"error":1}}}`+"\n"), []byte("a: &a [*a]"), []byte("[[[["))
	f.Fuzz(func(t *testing.T, lines, config, progress []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"metrics.jsonl": lines, "config.yaml": config, "progress.json": progress} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		page, err := Write(dir)
		if err != nil {
			return
		}
		if st, err := os.Stat(filepath.Join(dir, filepath.Base(page))); err != nil || st.Size() == 0 {
			t.Errorf("no page: %v", err)
		}
	})
}
