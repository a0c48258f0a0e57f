package rundir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"magvit/trainer/atomicfile"
	"magvit/trainer/checkpoint"
	"magvit/trainer/metrics"
)

// DamagedFile keeps the damaged lines that were taken out of MetricsFile.
const DamagedFile = MetricsFile + ".bad"

// records are the lines of metrics.jsonl up to a step.
type records struct {
	kept    []byte // with line ends
	damaged []byte
	count   int // of damaged lines
	last    int // step of the last one that was kept, -1 without any
	evals   []metrics.EvalRecord
}

// recordsUntil sorts the lines of metrics.jsonl. Later records behind the last one of the
// step are left out, as is a last line without an end, which a killed writer leaves. Any
// other line that is no record, or of a later step, is damaged.
func recordsUntil(text []byte, step int) (r records) {
	r.last = -1
	var late []byte // lines of later steps since the last one that was kept
	lateCount := 0
	for line := range bytes.Lines(text) {
		if line[len(line)-1] != '\n' || len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var record struct {
			Step     *int                    `json:"step"`
			Val      *metrics.Report         `json:"val"`
			Classify *metrics.Classification `json:"classify"`
			Prior    *metrics.Likelihood     `json:"prior"`
		}
		switch err := json.Unmarshal(line, &record); {
		case err != nil || record.Step == nil:
			r.damaged = append(r.damaged, line...)
			r.count++
			continue
		case *record.Step > step:
			late = append(late, line...)
			lateCount++
			continue
		}
		r.damaged, r.count = append(r.damaged, late...), r.count+lateCount
		late, lateCount = nil, 0
		r.kept, r.last = append(r.kept, line...), *record.Step
		if record.Val != nil {
			r.evals = append(r.evals, metrics.EvalRecord{Step: *record.Step, Val: *record.Val})
		}
		if record.Classify != nil || record.Prior != nil {
			r.evals = append(r.evals, metrics.EvalRecord{Step: *record.Step, Classify: record.Classify, Prior: record.Prior})
		}
	}
	return r
}

// openRecords opens metrics.jsonl to continue after a step. Damaged lines go to DamagedFile. every
// is the number of steps between records of the run so far.
func (d *Dir) openRecords(step, every int) ([]metrics.EvalRecord, error) {
	path := d.File(MetricsFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r := recordsUntil(text, step)
	if r.count > 0 {
		d.log.Warn(fmt.Sprintf("%s: %d damaged lines were moved to %s", path, r.count, DamagedFile))
		if err := appendFile(d.File(DamagedFile), r.damaged); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(d.File(ProgressFile)); err == nil && step > 0 && r.last < step-step%every {
		d.log.Warn(fmt.Sprintf("%s: the records between step %d and step %d are lost", path, max(r.last, 0), step))
	}
	if !bytes.HasPrefix(text, r.kept) {
		if err := atomicfile.WriteBytes(path, r.kept); err != nil {
			return nil, err
		}
	}
	if d.lines, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return nil, err
	}
	end := int64(len(r.kept))
	d.hash, d.size = sha256.New(), end
	d.hash.Write(r.kept)
	if err := d.lines.Truncate(end); err != nil {
		return nil, err
	}
	_, err = d.lines.Seek(end, io.SeekStart)
	return r.evals, err
}

// Records returns size and hash of metrics.jsonl, as a checkpoint keeps them.
func (d *Dir) Records() checkpoint.Digest {
	return checkpoint.Digest{Bytes: d.size, SHA256: hex.EncodeToString(d.hash.Sum(nil))}
}

func appendFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}
