package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/data"
)

func indexCommand() *cli.Command {
	return &cli.Command{
		Name:        "index",
		Usage:       "scan films once, so that later commands start at once",
		Description: example("magvit index films/ --out set.index", "magvit train --preset small --data films/ --index set.index --out runs/a --set data.size=64 --set data.frames=17"),
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "out", Usage: "the index `FILE` to write or to bring up to date"},
			jsonFlag(),
		},
		Action: index,
	}
}

func index(c *cli.Context) error {
	if err := need(c, "data", "out"); err != nil {
		return err
	}
	paths, out := c.StringSlice("data"), c.String("out")
	if err := protectFrom(isIndex, out, "--out", paths...); err != nil {
		return err
	}
	group, err := openRanks(c)
	if err != nil {
		return err
	}
	x, err := data.ReadIndex(out)
	if err != nil {
		return err
	}
	src, err := data.Open(c.Context, paths, data.Options{Index: x})
	if err != nil {
		return err
	}
	defer src.Close()
	all := make([]int, src.Len())
	for i := range all {
		all[i] = i
	}
	if err := launched.same(c.Context, "films", chosen(src, all)); err != nil {
		return err
	}
	p := setProgress(c, "index", src)
	defer p.close()
	bad, err := data.Scan(c.Context, src, group.Rank(), group.Size(), cmp.Or(launched.cores, runtime.NumCPU()), func(n, of int) {
		p.set(float64(n)/float64(of), fmt.Sprintf("%d of %d films", n, of))
	})
	for _, b := range bad {
		p.log.Warn("film left out: " + b.Error())
	}
	if len(bad) > 0 {
		p.log.Warn(fmt.Sprintf("%d films could not be scanned", len(bad)))
	}
	p.close()
	if err == nil {
		err = mergeIndexes(c.Context, x)
	}
	if !launched.first() {
		return err
	}
	// What was scanned until an interruption is written, so that nothing is scanned again.
	if err := errors.Join(err, x.Write(out)); err != nil {
		return err
	}
	return printWritten(c, written{Path: out, Clips: x.Len()}, "%d films", x.Len())
}

// mergeIndexes adds what other ranks have scanned to the index of the first one.
func mergeIndexes(ctx context.Context, x *data.Index) error {
	g := launched.group
	if g.Size() == 1 {
		return nil
	}
	g.SetTimeout(waitForWork)
	mine, err := x.Bytes()
	if err != nil {
		return err
	}
	all, err := g.Gather(ctx, mine)
	if err != nil || !g.First() {
		return err
	}
	for _, other := range all[1:] {
		if err := x.Merge(other); err != nil {
			return err
		}
	}
	return nil
}

// setProgress starts the progress of a command on a set, and logs the set's problems.
func setProgress(c *cli.Context, name string, src data.Source) *progress {
	p := newProgress(c, name, 10*time.Second)
	for _, s := range src.Problems() {
		if !launched.first() {
			break // the first one tells them
		}
		p.log.Warn("data: " + s)
	}
	return p
}

func indexFlag() cli.Flag {
	return &cli.StringFlag{Name: "index", Usage: "index of the films, a `FILE` of magvit index; what it lacks is scanned and added"}
}

// openData opens clips with the index of --index or, if that is not given, of fallback,
// a file of this program that may not exist. close writes what was added to it.
func openData(c *cli.Context, log *slog.Logger, paths []string, fallback string, opt data.Options) (src data.Source, closeAll func(), err error) {
	path := c.String("index")
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return nil, nil, usagef("--index %s: %w", path, err)
		}
	} else {
		path = fallback
	}
	if opt.Index, err = data.ReadIndex(path); err != nil {
		return nil, nil, err
	}
	if src, err = data.Open(c.Context, paths, opt); err != nil {
		return nil, nil, err
	}
	return src, func() {
		src.Close()
		if path == "" {
			return
		}
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return
		}
		if err := opt.Index.Write(path); err != nil && log != nil {
			log.Warn("the index of films was not written: " + err.Error())
		}
	}, nil
}
