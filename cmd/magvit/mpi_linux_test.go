//go:build mpi

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"magvit/trainer/torture"
	"magvit/trainer/trainertest"
)

// These tests run the program under the launcher that MAGVIT_MPIRUN names, perhaps with flags, of the MPI library
// whose mpicc is CC: make mpi-test and make slurm-test.

func init() { buildFlags = []string{"-tags", "mpi"} }

// mpiEnvironment lets Open MPI's launcher run as root, and more ranks than there are cores.
var mpiEnvironment = []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1", "PRTE_ALLOW_RUN_AS_ROOT=1",
	"PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1", "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe", "OMPI_MCA_hwloc_base_binding_policy=none", "OMPI_MCA_btl=self,vader,tcp", "OMPI_MCA_btl_tcp_if_include=lo"}

// mpirun is a command line of the launcher; programs are separated by ":".
func mpirun(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	launcher := strings.Fields(os.Getenv("MAGVIT_MPIRUN"))
	if len(launcher) == 0 {
		t.Fatal("MAGVIT_MPIRUN is not set: want the launcher of the MPI library that the program is built for, see make mpi-test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, launcher[0], append(launcher[1:], args...)...)
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), mpiEnvironment...)
	return cmd
}

// several runs a command of the program on n ranks.
func several(t *testing.T, n int, args ...string) *exec.Cmd {
	t.Helper()
	return mpirun(t, append([]string{"-n", strconv.Itoa(n), binary}, args...)...)
}

// mpiVariants are trainings of 4 batches a step, each of something else that is added up.
var mpiVariants = map[string][]string{
	"fsq": nil,
	"lfq": {"--set", "model.quantizer={kind: lfq, levels: [], codebook_size: 64, entropy_weight: 0.5, diversity_gamma: 1, commitment_weight: 0.25}"},
	"gan": {"--set", "model.discriminator={kind: image, dim: 1, max_dim: 6, linear_attention: {heads: 2, dim: 2}, feed_forward: 2}",
		"--set", "model.loss.adversarial={weight: 0.5, start: 3, ramp: 4, penalty_every: 2}"},
}

// mpiTraining are the arguments of a training of the campaigns with 4 batches a step.
func mpiTraining(t *testing.T, out, variant string) []string {
	return append(append(tortured(t, out).Args[1:], "--set", "train.batch=1", "--set", "train.accumulate=4", "--set", "train.schedule=constant", "--set", "train.timeout=60"), mpiVariants[variant]...)
}

func succeeds(t *testing.T, cmd *exec.Cmd, what string) {
	t.Helper()
	if status, log := outcome(t, cmd, what); status != done {
		t.Fatalf("%s: exit %d\n%s", what, status, log)
	}
}

// TestMPISameBits trains on one process, on 2 and on 4 ranks, by shared memory or by messages; with lfq the ranks have a part of the moments each.
func TestMPISameBits(t *testing.T) {
	for variant := range mpiVariants {
		dir := t.TempDir()
		alone := filepath.Join(dir, "alone")
		succeeds(t, program(t, mpiTraining(t, alone, variant)...), variant)
		for _, n := range []int{2, 4} {
			if n == 4 && variant != "fsq" && testing.Short() {
				continue
			}
			out := filepath.Join(dir, fmt.Sprint(n))
			args := mpiTraining(t, out, variant)
			if variant == "lfq" {
				args = append(args, "--set", "train.shard_optimizer=true")
			}
			cmd, exchange := several(t, n, args...), "shared memory"
			if n == 4 || variant == "gan" {
				cmd.Env, exchange = append(cmd.Env, "MAGVIT_RANKS=messages"), "messages"
			}
			if status, log := outcome(t, cmd, variant); status != done || !strings.Contains(log, "exchange="+exchange) && !strings.Contains(log, `exchange="`+exchange) {
				t.Fatalf("%s on %d ranks: exit %d, want exchange by %s\n%s", variant, n, status, exchange, log)
			}
			if d := differs(t, alone, out); d != "" {
				t.Errorf("%s, %d ranks: %s", variant, n, d)
			}
		}
	}
}

// TestMPIEvaluatesAndEncodes has the numbers and the codes of one process.
func TestMPIEvaluatesAndEncodes(t *testing.T) {
	_, clips := tortureInputs(t)
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	succeeds(t, program(t, append(mpiTraining(t, run, "fsq"), "--steps", "2")...), "training")
	eval := []string{"eval", "--checkpoint", run, "--data", clips, "--split", "all", "--metrics", "psnr,sharpness", "--json"}
	want, _ := magvit(t, eval...)
	forecast := []string{"probe", "--checkpoint", run, "--data", clips, "--target", "trajectory", "--splits", "2", "--steps", "20", "--views", "1", "--json"}
	forecasts, _ := magvit(t, forecast...)
	file := func(out string) []string {
		return []string{"encode", "--checkpoint", run, "--data", clips, "--split", "all", "--out", filepath.Join(dir, out+".npz")}
	}
	magvit(t, file("alone")...)
	films, err := filepath.Glob("../../testdata/clips/*/*.mp4")
	trainertest.Check(t, err)
	index := func(out string) []string {
		args := []string{"index", "--out", filepath.Join(dir, out+".index")}
		for _, f := range films[:5] {
			full, err := filepath.Abs(f)
			trainertest.Check(t, err)
			args = append(args, full)
		}
		return args
	}
	magvit(t, index("alone")...)
	encode := func(out string) []string {
		return []string{"encode", "--checkpoint", run, "--data", clips, "--split", "all", "--shard-clips", "2", "--out", filepath.Join(dir, out)}
	}
	magvit(t, encode("alone")...)
	for _, n := range []int{2, 3} {
		got, log, status := finish(t, several(t, n, eval...))
		if status != done || got != want {
			t.Errorf("eval on %d ranks: exit %d\n%s\n%s\nwant\n%s", n, status, log, got, want)
		}
		out := fmt.Sprint("on", n)
		if n == 2 {
			if got, log, status := finish(t, several(t, n, forecast...)); status != done || got != forecasts {
				t.Errorf("probe on %d ranks: exit %d\n%s\n%s\nwant\n%s", n, status, log, got, forecasts)
			}
			succeeds(t, several(t, n, file(out)...), "encode to a file")
			succeeds(t, several(t, n, index(out)...), "index")
			for _, ext := range []string{".npz", ".index"} {
				if text, err := exec.Command("cmp", filepath.Join(dir, "alone"+ext), filepath.Join(dir, out+ext)).CombinedOutput(); err != nil {
					t.Errorf("%s on %d ranks: %v\n%s", ext, n, err, text)
				}
			}
		}
		succeeds(t, several(t, n, encode(out)...), "encode")
		if text, err := exec.Command("diff", "-r", filepath.Join(dir, "alone"), filepath.Join(dir, out)).CombinedOutput(); err != nil {
			t.Errorf("encode on %d ranks: %v\n%s", n, err, text)
		}
	}
	if status, log := outcome(t, several(t, 2, "reconstruct", "--checkpoint", run), "reconstruct"); status == done || !strings.Contains(log, "train, eval, encode, probe and index take several ranks") {
		t.Errorf("reconstruct: exit %d\n%s", status, log)
	}
}

// TestMPIBenchStep measures a step of two ranks next to its prediction.
func TestMPIBenchStep(t *testing.T) {
	out, log, status := finish(t, several(t, 2, "bench", "step", "--preset", "tiny", "--batch", "2", "--steps", "1", "--ranks", "2", "--link", "500,2", "--json"))
	var r rankStepResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != done {
		t.Fatalf("exit %d, %v\n%s%s", status, err, out, log)
	}
	if !(r.MedianSeconds > 0) || !(r.Predicted.Seconds >= r.Alone) {
		t.Errorf("%+v", r)
	}
}

// TestMPIReadmeExamples runs the commands of the guide on clips of the tests: mpirun's by the
// launcher, those of other launchers without it.
func TestMPIReadmeExamples(t *testing.T) {
	_, clips := tortureInputs(t)
	guide, err := os.ReadFile("../../trainer/README.md")
	trainertest.Check(t, err)
	_, text, _ := strings.Cut(string(guide), "\n## Several processes and machines\n")
	text, _, _ = strings.Cut(text, "\n## ")
	hosts := filepath.Join(t.TempDir(), "hosts")
	trainertest.Check(t, os.WriteFile(hosts, []byte("localhost\n"), 0o666))
	text = strings.NewReplacer("[mpirun, -n, \"8\",", "kubernetes", ", ", " ", "]", "").Replace(text)
	found := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "command: ")
		launcher, command, ok := strings.Cut(line, " magvit train ")
		kind, _, _ := strings.Cut(launcher, " ")
		if !ok || !slices.Contains([]string{"mpirun", "srun", "kubernetes"}, kind) {
			continue
		}
		found[kind]++
		run := filepath.Join(t.TempDir(), "run")
		args := []string{"train"}
		for _, a := range strings.Fields(command) {
			switch a {
			case "clips/", "/data/clips":
				a = clips
			case "runs/mine", "/data/runs/mine":
				a = run
			case "demo":
				a = "tiny"
			}
			args = append(args, a)
		}
		args = append(args, "--steps", "1", "--set", "train.batch=1", "--set", "train.eval_clips=1", "--set", "train.samples=0", "--set", "data.crop.batch=0", "--set", "data.size=64")
		cmd := program(t, args...)
		if kind == "mpirun" {
			flags := strings.Fields(strings.NewReplacer("-n 8", "-n 2", "-n 4", "-n 2", " hosts", " "+hosts).Replace(launcher))[1:]
			cmd = mpirun(t, append(append(flags, binary), args...)...)
		}
		succeeds(t, cmd, line)
	}
	if found["mpirun"] != 2 || found["srun"] != 1 || found["kubernetes"] != 1 {
		t.Errorf("examples found: %v", found)
	}
}

// ranksOf are the process numbers of the ranks that train in a run directory, by rank.
func ranksOf(out string) map[int]int {
	found := map[int]int{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if args := bytes.Split(line, []byte{0}); err != nil || string(args[0]) != binary || !slices.ContainsFunc(args, func(a []byte) bool { return string(a) == out }) {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil {
			continue
		}
		for _, v := range strings.Split(string(environ), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			if rank, err := strconv.Atoi(value); err == nil && slices.Contains([]string{"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}, name) {
				found[rank], _ = strconv.Atoi(filepath.Base(p))
			}
		}
	}
	return found
}

// signalAt sends a rank a signal once the run has saved a checkpoint.
func signalAt(t *testing.T, out string, rank int, s syscall.Signal) {
	for range 600 {
		if saved, _ := filepath.Glob(filepath.Join(out, "checkpoints", "step-*")); len(saved) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	pid := ranksOf(out)[rank]
	if pid == 0 {
		t.Errorf("there is no rank %d", rank)
		return
	}
	trainertest.Check(t, syscall.Kill(pid, s))
}

// long makes a training one that its faults meet.
func long(args []string) []string {
	return append(args, "--steps", "2000", "--set", "train.timeout=6", "--set", "train.eval_every=0", "--set", "train.samples=0")
}

// TestMPIKilledRank kills a rank. The job ends, and goes on with another number of ranks to the
// bits of a run in one piece.
func TestMPIKilledRank(t *testing.T) {
	dir := t.TempDir()
	out, alone := filepath.Join(dir, "run"), filepath.Join(dir, "alone")
	succeeds(t, program(t, mpiTraining(t, alone, "fsq")...), "alone")
	go signalAt(t, out, 1, syscall.SIGKILL)
	began := time.Now()
	if status, log := outcome(t, several(t, 3, long(mpiTraining(t, out, "fsq"))...), "killed"); status == done {
		t.Errorf("exit %d\n%s", status, log)
	}
	t.Logf("the job took %v", time.Since(began))
	newest(t, out, 5)
	succeeds(t, several(t, 2, append(mpiTraining(t, out, "fsq"), "--resume", "auto")...), "resumed")
	if d := differs(t, alone, out); d != "" {
		t.Error(d)
	}
}

// newest removes the checkpoints after a step, which a longer run has.
func newest(t *testing.T, out string, step int) {
	t.Helper()
	saved, err := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
	trainertest.Check(t, err)
	for _, s := range saved {
		if filepath.Base(s) > fmt.Sprintf("step-%06d", step) {
			trainertest.Check(t, os.RemoveAll(s))
		}
	}
	trainertest.Check(t, os.WriteFile(filepath.Join(out, "checkpoints", "latest"), []byte(fmt.Sprintf("step-%06d\n", step)), 0o666))
}

// TestMPIStuckRank stops a rank, the first one too. The others end the job, and name it.
func TestMPIStuckRank(t *testing.T) {
	host, err := os.Hostname()
	trainertest.Check(t, err)
	for stuck := range 2 {
		out := filepath.Join(t.TempDir(), "run")
		stopped := make(chan time.Time, 1)
		go func() {
			signalAt(t, out, stuck, syscall.SIGSTOP)
			stopped <- time.Now()
		}()
		status, log := outcome(t, several(t, 2, long(mpiTraining(t, out, "fsq"))...), "stuck")
		if status == done || !strings.Contains(log, fmt.Sprintf("no answer in time: rank %d on %s", stuck, host)) {
			t.Errorf("rank %d stuck: exit %d\n%s", stuck, status, log)
		}
		t.Logf("rank %d stuck: the job ended after %v", stuck, time.Since(<-stopped).Round(100*time.Millisecond))
	}
}

// TestMPIInterrupt interrupts the launcher. The run is saved.
func TestMPIInterrupt(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	cmd := several(t, 2, append(mpiTraining(t, out, "fsq"), "--steps", "2000", "--set", "train.save_every=3")...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	trainertest.Check(t, cmd.Start())
	for range 600 {
		if saved, _ := filepath.Glob(filepath.Join(out, "checkpoints", "step-*")); len(saved) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	trainertest.Check(t, cmd.Process.Signal(syscall.SIGINT))
	cmd.Wait()
	if !strings.Contains(log.String(), "interrupted after step") { // the status of MPICH's launcher is 0
		t.Errorf("%v\n%s", cmd.ProcessState, &log)
	}
}

// TestMPIDifferentRanks gives the second rank something else.
func TestMPIDifferentRanks(t *testing.T) {
	other := filepath.Join(t.TempDir(), "magvit")
	program, err := os.ReadFile(binary)
	trainertest.Check(t, err)
	trainertest.Check(t, os.WriteFile(other, append(program, 0), 0o777))
	args := mpiTraining(t, filepath.Join(t.TempDir(), "run"), "fsq")
	for want, second := range map[string][]string{
		"program: sha256 ":          append([]string{other}, args...),
		"train.lr":                  append(append([]string{binary}, args...), "--set", "train.lr=1e-4"),
		"instruction set or device": append([]string{"/usr/bin/env", "MAGVIT_ISA=generic", binary}, args...),
	} {
		status, log := outcome(t, mpirun(t, append(append(append([]string{"-n", "1", binary}, args...), ":", "-n", "1"), second...)...), want)
		if status == done || !strings.Contains(log, want) || !strings.Contains(log, "rank 1 on ") {
			t.Errorf("%s: exit %d\n%s", want, status, log)
		}
	}
	differentRanksOfWork(t)
}

// differentRanksOfWork gives the second rank of eval and encode something else.
func differentRanksOfWork(t *testing.T) {
	_, clips := tortureInputs(t)
	dir := t.TempDir()
	var runs []string
	for _, seed := range []string{"1", "2"} {
		runs = append(runs, filepath.Join(dir, "run"+seed))
		succeeds(t, program(t, append(mpiTraining(t, runs[len(runs)-1], "fsq"), "--steps", "1", "--set", "train.seed="+seed)...), "training")
	}
	made := filepath.Join(dir, "codes.npz")
	eval := []string{binary, "eval", "--checkpoint", runs[0], "--data", clips}
	encode := []string{binary, "encode", "--checkpoint", runs[0], "--data", clips, "--out", made}
	for _, c := range []struct {
		want          string
		first, second []string
	}{
		{"checkpoint: step 1, weights ", eval, []string{binary, "eval", "--checkpoint", runs[1], "--data", clips}},
		{"checkpoint: step 1, weights ", encode, []string{binary, "encode", "--checkpoint", runs[1], "--data", clips, "--out", made}},
		{"instruction set or device", encode, append([]string{"/usr/bin/env", "MAGVIT_ISA=generic"}, encode...)},
		{"clips: ", encode, append(slices.Clone(encode), "--limit", "1")},
		{"data.frames", encode, append(slices.Clone(encode), "--frames", "2")},
		{"command: encode on ", encode, eval},
	} {
		status, log := outcome(t, mpirun(t, slices.Concat([]string{"-n", "1"}, c.first, []string{":", "-n", "1"}, c.second)...), c.want)
		if status == done || !strings.Contains(log, c.want) || !strings.Contains(log, "rank 1 on ") {
			t.Errorf("%s, then %s: exit %d, want %q in\n%s", c.first[1:], c.second[1:], status, c.want, log)
		}
		if _, err := os.Stat(made); err == nil {
			t.Errorf("%s: codes were written", c.want)
		}
	}
}

// TestMPIEnds runs jobs whose messages go over TCP, where MPI_Finalize of MPICH 4.0.2 (ch4:ucx) often does not return.
func TestMPIEnds(t *testing.T) {
	for range 3 {
		cmd := several(t, 2, "bench", "reduce", "--max", "1", "--quiet")
		cmd.Env = append(cmd.Env, "MAGVIT_RANKS=messages", "UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo", "OMPI_MCA_btl=self,tcp")
		succeeds(t, cmd, "sums over TCP")
	}
}

// TestMPIOtherLauncher starts the program as another library's launcher would.
func TestMPIOtherLauncher(t *testing.T) {
	cmd := program(t, mpiTraining(t, filepath.Join(t.TempDir(), "run"), "fsq")...)
	cmd.Env = append(append(os.Environ(), mpiEnvironment...), "SLURM_STEP_NUM_TASKS=2")
	if status, log := outcome(t, cmd, "alone"); status != badInput || !strings.Contains(log, "srun started 2 processes, but ") || !strings.Contains(log, "sees 1") {
		t.Errorf("exit %d\n%s", status, log)
	}
}

// TestTortureRanksFiftySteps trains 50 steps of preset tiny, of it with lfq, and with a discriminator, on 2 and on 4 ranks, of
// which one is killed after the first checkpoint. All runs end with the bits of one process.
func TestTortureRanksFiftySteps(t *testing.T) {
	_, r := torture.Campaign(t, 1, 1)
	dir := t.TempDir()
	clips := filepath.Join(dir, "clips.npz")
	magvit(t, "synth", "--clips", "16", "--size", "32", "--frames", "8", "--out", clips)
	for variant, more := range mpiVariants {
		training := func(out string) []string {
			return append([]string{"train", "--preset", "tiny", "--data", clips, "--out", out, "--steps", "50", "--resume", "auto", "--set", "train.batch=1", "--set", "train.accumulate=4",
				"--set", "train.save_every=10", "--set", "train.log_every=1", "--set", "train.eval_every=25", "--set", "train.samples=0"}, more...)
		}
		alone := filepath.Join(dir, variant)
		succeeds(t, program(t, training(alone)...), variant)
		for _, n := range []int{2, 4} {
			out := filepath.Join(dir, fmt.Sprint(variant, n))
			rank := r.IntN(n)
			go signalAt(t, out, rank, syscall.SIGKILL)
			if status, log := outcome(t, several(t, n, training(out)...), "killed"); status == done {
				t.Errorf("%s on %d ranks ends though rank %d was killed\n%s", variant, n, rank, log)
			}
			succeeds(t, several(t, n, training(out)...), fmt.Sprintf("%s on %d ranks", variant, n))
			if d := differs(t, alone, out); d != "" {
				t.Errorf("%s, %d ranks, rank %d killed: %s", variant, n, rank, d)
			}
		}
	}
}

// TestTortureRanks kills random ranks at random moments of jobs with random numbers of ranks. Each
// run ends with the bits of one process.
func TestTortureRanks(t *testing.T) {
	n, r := torture.Campaign(t, 2, 100)
	dir := t.TempDir()
	alone := map[string]string{}
	var took time.Duration
	for variant := range mpiVariants {
		alone[variant] = filepath.Join(dir, variant)
		succeeds(t, program(t, mpiTraining(t, alone[variant], variant)...), variant)
	}
	began := time.Now()
	succeeds(t, several(t, 2, mpiTraining(t, filepath.Join(dir, "timed"), "fsq")...), "timed")
	took = time.Since(began)
	kills, runs, launchers := 0, 0, 0
	names := []string{"fsq", "gan", "lfq"}
	var slowest time.Duration
	for lives := 0; kills < n; runs++ {
		variant := names[r.IntN(len(names))]
		out := filepath.Join(dir, fmt.Sprint("run", runs))
		for range 8 {
			if lives++; lives > 4*n+20 {
				t.Fatalf("%d kills in %d lives: the others had ended before", kills, lives)
			}
			size := 2 + r.IntN(3)
			cmd := several(t, size, mpiTraining(t, out, variant)...)
			trainertest.Check(t, cmd.Start())
			ended := make(chan time.Duration, 1) // until the others had, after a kill
			rank := r.IntN(size)
			began := time.Now()
			kill := time.AfterFunc(moment(r, took), func() {
				defer close(ended)
				if pid := ranksOf(out)[rank]; pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
					at := time.Now()
					for len(ranksOf(out)) > 0 && time.Since(at) < 2*time.Minute {
						time.Sleep(20 * time.Millisecond)
					}
					ended <- time.Since(at)
				}
			})
			cmd.Wait()
			stopped := kill.Stop()
			if cmd.ProcessState.ExitCode() == done {
				break
			}
			// mpirun of Open MPI 4.1.4 sometimes waits for ever in PMIx_server_finalize when all ranks have ended.
			if time.Since(began) > 2*time.Minute {
				launchers++
			}
			var after time.Duration
			killed := false
			if !stopped {
				after, killed = <-ended
			}
			if !killed {
				t.Errorf("%s: exit %d, and no rank was killed", variant, cmd.ProcessState.ExitCode())
			}
			if kills, slowest = kills+1, max(slowest, after); after > 65*time.Second {
				t.Errorf("%s: rank %d was killed, the others live on after %v; want train.timeout, a minute, at most", variant, rank, after)
			}
			if kills == n {
				break
			}
		}
		succeeds(t, several(t, 1+r.IntN(4), mpiTraining(t, out, variant)...), variant)
		if d := differs(t, alone[variant], out); d != "" {
			t.Errorf("%s, run %d after %d kills: %s", variant, runs, kills, d)
		}
	}
	t.Logf("kills of ranks: %d in %d runs; the others ended within %v; mpirun itself did not end %d times", kills, runs, slowest.Round(time.Millisecond), launchers)
}
