package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"magvit/trainer/torture"
	"magvit/trainer/trainertest"
)

// use is what a process holds at a moment: resident pages, open files and threads.
type use struct{ pages, files, threads int }

func useOf(pid int) (u use, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	b, err := os.ReadFile(proc + "statm")
	if err != nil {
		return u, err
	}
	var size int
	if _, err := fmt.Sscan(string(b), &size, &u.pages); err != nil {
		return u, err
	}
	for name, n := range map[string]*int{"fd": &u.files, "task": &u.threads} {
		entries, err := os.ReadDir(proc + name)
		if err != nil {
			return u, err
		}
		*n = len(entries)
	}
	return u, nil
}

// middle is the use in the middle of some moments, each number by itself.
func middle(moments []use) (m use) {
	for _, f := range []func(*use) *int{
		func(u *use) *int { return &u.pages }, func(u *use) *int { return &u.files }, func(u *use) *int { return &u.threads },
	} {
		var all []int
		for i := range moments {
			all = append(all, *f(&moments[i]))
		}
		slices.Sort(all)
		*f(&m) = all[len(all)/2]
	}
	return m
}

// A long training with many checkpoints, evaluations and pictures holds no more memory, open files, threads or
// checkpoints in its last quarter than in its second.
func TestTortureSoak(t *testing.T) {
	if os.Getenv("MAGVIT_TORTURE") == "" {
		t.Skip("takes minutes: see make torture")
	}
	steps, _ := torture.Campaign(t, 0, 200_000)
	out := filepath.Join(t.TempDir(), "run")
	config, clips := tortureInputs(t)
	cmd := program(t, "train", "--config", config, "--data", clips, "--out", out, "--steps", fmt.Sprint(steps),
		"--set", "train.save_every=20", "--set", "train.log_every=5", "--set", "train.eval_every=50", "--set", "train.samples=1")
	var moments []use
	done := make(chan error)
	trainertest.Check(t, cmd.Start())
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case err := <-done:
			trainertest.Check(t, err)
			running = false
		case <-tick.C:
			if u, err := useOf(cmd.Process.Pid); err == nil {
				moments = append(moments, u)
			}
		}
	}
	if len(moments) < 8 {
		t.Fatalf("%d moments, want 8 or more", len(moments))
	}
	second, last := middle(moments[len(moments)/4:len(moments)/2]), middle(moments[len(moments)*3/4:])
	if last.pages > second.pages+second.pages/10+(4<<20)/os.Getpagesize() || last.files > second.files+2 || last.threads > second.threads+2 {
		t.Errorf("%d steps: pages, open files and threads grew from %v to %v", steps, second, last)
	}
	kept, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
	trainertest.Check(t, err)
	if len(kept) > 5 {
		t.Errorf("%d checkpoints are kept: %v", len(kept), kept)
	}
	t.Logf("soak: %d steps; pages, open files, threads: %v in the second quarter, %v in the last", steps, second, last)
}
