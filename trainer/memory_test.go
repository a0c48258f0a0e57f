package trainer

import (
	"runtime"
	"testing"

	"magvit/trainer/trainertest"
)

// TestBatchBeyondMemory asks for a batch of 65,536 clips, which is legal and larger than any memory here.
func TestBatchBeyondMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of this system is unknown")
	}
	if n := availableMemory(); n < 1<<20 || n > 1<<50 {
		t.Fatalf("%d bytes are available", n)
	}
	o, _ := small(t, "train.batch=65536", "data.frames=16")
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "train.batch: 65536 clips", "free", "a batch of", "fits")
}
