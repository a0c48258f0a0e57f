package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/metrics"
	"magvit/trainer/ranks"
	"magvit/trainer/ranks/mpi"
	"magvit/trainer/usage"
)

// meetWithin is the time in which the ranks of a job have to meet, and to read what they were
// given; a training then has train.timeout.
const meetWithin = 10 * time.Minute

// waitForWork is the time in which ranks come to the end of work that takes them longer or shorter, such as scanning films
// or fitting probes: the launcher ends the job if a rank dies meanwhile.
const waitForWork = 7 * 24 * time.Hour

// job is this process's part in what a launcher started; of a process on its own it is empty.
type job struct {
	transport ranks.Transport
	group     *ranks.Group // nil: a process on its own
	apart     error        // why ranks send messages; nil: they share memory
	cores     int          // of this rank; 0: all that Go sees
	stuck     bool         // another rank did not answer
	lost      bool         // the first rank, which saves, did not answer
}

// launched is the job of the process, which a launcher starts once.
var launched job

// openRanks meets the other ranks, if a launcher started several.
func openRanks(c *cli.Context) (*ranks.Group, error) {
	if launched.transport != nil {
		return launched.group, nil
	}
	t, err := mpi.Open()
	if err != nil || t == nil {
		return nil, err
	}
	launched.transport = t
	if launched.group, err = ranks.NewGroup(c.Context, t, meetWithin); err != nil {
		return nil, err
	}
	if err := launched.same(c.Context, "command", c.Command.Name); err != nil {
		return nil, err
	}
	if err := launched.shareMemory(c.Context); err != nil {
		return nil, err
	}
	if err := launched.divideCores(c.Context); err != nil {
		return nil, err
	}
	return launched.group, launched.chooseGPU()
}

// shareMemory replaces MPI's messages by memory that ranks share, where all of them are on one machine.
func (j *job) shareMemory(ctx context.Context) (err error) {
	const variable = "MAGVIT_RANKS"
	v := os.Getenv(variable)
	if err := j.same(ctx, variable, v); err != nil {
		return err
	}
	switch v {
	case "":
		j.group, j.apart, err = j.group.ShareMemory(ctx)
		return err
	case "messages":
		j.apart = fmt.Errorf("%s=%s", variable, v)
		return nil
	default:
		return usagef("%s=%q: want messages, for MPI's messages between ranks of one machine, or nothing, for memory that they share", variable, v)
	}
}

// divideCores gives a rank its part of the cores that the launcher lets it and others of its
// machine use.
func (j *job) divideCores(ctx context.Context) error {
	all, err := j.group.Gather(ctx, []byte(affinity()))
	if err != nil {
		return err
	}
	sharing, hosts := 0, j.group.Hosts()
	for i, a := range all {
		if hosts[i] == hosts[j.group.Rank()] && string(a) == affinity() {
			sharing++
		}
	}
	j.cores = max(1, runtime.GOMAXPROCS(0)/sharing)
	runtime.GOMAXPROCS(max(2, j.cores)) // one more than kernels need, for reading clips, where a rank has one core
	return nil
}

// chooseGPU lets a rank see one GPU of its machine, by its number there, unless the launcher
// has given it one.
func (j *job) chooseGPU() error {
	const variable = "CUDA_VISIBLE_DEVICES"
	rank, size := j.group.Local()
	given, set := os.LookupEnv(variable)
	if !set || given == "" {
		if size > 1 && !set {
			return os.Setenv(variable, strconv.Itoa(rank))
		}
		return nil
	}
	list := strings.Split(given, ",")
	switch {
	case len(list) == 1:
		return nil
	case rank >= len(list):
		return usagef("%s=%s: %d GPUs for %d ranks on %s; start one rank for each", variable, given, len(list), size, j.transport.Host())
	}
	return os.Setenv(variable, list[rank])
}

// describe logs what runs where, and warns of cores that are not used.
func (j *job) describe(log *slog.Logger) {
	if j.group == nil {
		return
	}
	hosts := map[string]int{}
	for _, h := range j.group.Hosts() {
		hosts[h]++
	}
	log.Info(fmt.Sprintf("%d ranks on %s, by %s", j.group.Size(), metrics.Plural(len(hosts), "machine"), mpi.Library), "cores_per_rank", j.cores, "exchange", j.exchange())
	if _, size := j.group.Local(); runtime.NumCPU() < online()/size {
		log.Warn(fmt.Sprintf("the launcher bound this rank to %d of %d cores: Open MPI's mpirun --bind-to none gives each of %d ranks its part of all", runtime.NumCPU(), online(), size))
	}
}

// exchange says how ranks exchange bytes.
func (j *job) exchange() string {
	if j.apart != nil {
		return fmt.Sprintf("messages (%v)", j.apart)
	}
	return "shared memory"
}

// same refuses ranks that were given something else.
func (j *job) same(ctx context.Context, what, given string) error {
	if j.group == nil {
		return nil
	}
	err := j.group.Same(ctx, what, given)
	if errors.Is(err, ranks.ErrDiffer) {
		return usage.Wrap(err)
	}
	return err
}

// rankCommands are the commands that several ranks run together, or that no launcher harms.
var rankCommands = []string{"train", "eval", "encode", "probe", "index", "bench", "doctor", "version", ""}

// refuseRanks refuses a launcher for the other commands, which would all do the same.
func refuseRanks(c *cli.Context) error {
	if n, by := mpi.Launched(); n > 1 && !slices.Contains(rankCommands, c.Args().First()) {
		return usagef("%s: %s started %d processes, and each would do the same; train, eval, encode, probe and index take several ranks", c.Args().First(), by, n)
	}
	return nil
}

// waitForFirst waits until all ranks have called it: the first one after work that it does alone.
func (j *job) waitForFirst(ctx context.Context) error {
	if j.group == nil {
		return nil
	}
	j.group.SetTimeout(waitForWork)
	return j.group.Barrier(ctx)
}

// first reports whether this process writes what all ranks have made together.
func (j *job) first() bool { return j.group.First() }

// named is a log of warnings that name the rank.
func (j *job) named(log *slog.Logger) *slog.Logger {
	return slog.New(atLeast{log.Handler(), slog.LevelWarn}).With("rank", j.group.Rank(), "host", j.transport.Host())
}

// fail tells the other ranks of an error, and returns the status that all leave with and the
// text to show; "" where another rank shows it.
func (j *job) fail(err error, status int) (int, string) {
	var other *ranks.Failure
	switch {
	case j.transport == nil:
		return status, err.Error()
	case errors.As(err, &other):
		return other.Status, ""
	}
	if errors.Is(err, trainer.ErrInterrupted) { // all ranks know
		if !j.first() {
			return status, ""
		}
		return status, err.Error()
	}
	var timeout *ranks.TimeoutError
	if j.stuck = errors.As(err, &timeout); j.stuck {
		j.lost = slices.Contains(timeout.Missing, 0)
	}
	if j.group != nil {
		j.group.Fail(err, status)
	}
	return status, fmt.Sprintf("rank %d on %s: %s", j.transport.Rank(), j.transport.Host(), err)
}

// exit ends the process with a status, together with the other ranks.
func (j *job) exit(status int) {
	if j.transport == nil {
		os.Exit(status)
	}
	wait := meetWithin // rank 0 may be saving
	switch {
	case j.first() && j.stuck, j.lost:
		wait = 3 * time.Second
	case j.first() || j.stuck:
		wait = 15 * time.Second
	}
	mpi.Exit(j.transport, status, wait)
}
