package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/quality"
	"magvit/trainer/ranks"
	"magvit/trainer/report"
	"magvit/trainer/usage"
)

// Evaluate encodes each clip, decodes its integer codes and compares.
func (c *Codec) Evaluate(ctx context.Context, e Clips, progress func() error) (found Evaluation, err error) {
	d := e.Data
	acc, err := metrics.New(metrics.Config{H: d.Height, W: d.Width, C: d.Channels,
		CodebookSize: c.Tokenizer.CodebookSize(), Levels: c.Tokenizer.CodebookLevels(),
		Classes: e.Source.Classes(), MeanFrame: e.Mean, Foreground: data.Foreground})
	if err != nil {
		return found, err
	}
	var grid [5]int
	show := map[int]bool{}
	for _, i := range e.Show {
		show[i] = true
	}
	answer := func(b *data.Batch) ([]byte, error) { // codes, then reconstructions
		codes, err := c.Encode(b.Video, b.Shape())
		if err != nil {
			return nil, err
		}
		recon, err := c.Decode(codes, b.Shape())
		if err != nil {
			return nil, err
		}
		both := make([]float32, len(codes), len(codes)+len(recon))
		for i, code := range codes {
			both[i] = float32(code) // below 2^24
		}
		return ranks.Bytes(append(both, recon...)), nil
	}
	found.Unread, err = e.answers(ctx, answer, func(b *data.Batch, answer []byte) (err error) {
		if grid, err = c.CodeShape(b.Shape()); err != nil {
			return err
		}
		both := ranks.Floats(answer)
		codes := make([]int32, grid[0]*grid[1]*grid[2]*grid[3]*grid[4])
		for i := range codes {
			codes[i] = int32(both[i])
		}
		recon := both[len(codes):]
		size, per := b.T*b.H*b.W*b.C, len(codes)/b.N
		for n, i := range b.Index {
			target, guess := b.Video[n*size:][:size], recon[n*size:][:size]
			if err := acc.Add(b.Names[n], b.Labels[n], b.Frames[n], target, guess, codes[n*per:][:per]); err != nil {
				return err
			}
			if e.Judge != nil {
				real := b.Frames[n] * b.H * b.W * b.C
				if err := e.Judge(quality.Pair{Name: b.Names[n], T: b.Frames[n], H: b.H, W: b.W, C: b.C, Original: target[:real], Recon: guess[:real]}); err != nil {
					return err
				}
			}
			if show[i] {
				found.shown = append(found.shown, report.Pair{Name: b.Names[n], Class: className(e.Source, b.Labels[n]), T: b.Frames[n], H: b.H, W: b.W, C: b.C,
					Target: slices.Clone(target), Recon: slices.Clone(guess), Codes: slices.Clone(codes[n*per:][:per]), Grid: [4]int(grid[1:])})
			}
		}
		if progress != nil {
			return progress()
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("evaluation: %w", err)
	}
	if !e.Ranks.First() {
		return found, nil
	}
	if found.Val = acc.Report(); found.Val.Clips == 0 {
		return found, usage.Errorf("evaluation: none of %d clips can be read", len(e.Indices))
	}
	found.Val.Grid = slices.Clone(grid[1:4])
	return found, nil
}

// drawn is the number of clips in a picture of the worst, the best, or of codes.
const drawn = 3

// Pictures draws the samples of an evaluation, a picture for each class, their codes, and the best and worst clips.
func (c *Codec) Pictures(ctx context.Context, clips Clips, e Evaluation) (list []Picture, err error) {
	if len(e.shown) == 0 {
		return nil, nil
	}
	draw := func(name string, pairs []report.Pair) error {
		var still, moving bytes.Buffer
		err := errors.Join(report.SideBySide(&still, pairs), report.AnimatedGIF(&moving, pairs))
		list = append(list, Picture{name, still.Bytes(), moving.Bytes()})
		return err
	}
	shown := slices.Clone(e.shown)
	slices.SortStableFunc(shown, func(a, b report.Pair) int { return strings.Compare(a.Class, b.Class) })
	var firsts []report.Pair // of each class
	for rest := shown; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Class == rest[0].Class {
			n++
		}
		if err := draw(rest[0].Class, rest[:n]); err != nil {
			return list, err
		}
		firsts, rest = append(firsts, rest[0]), rest[n:]
	}
	var codes bytes.Buffer
	if err := report.CodeMap(&codes, firsts[:min(drawn, len(firsts))], c.Tokenizer.CodebookLevels()); err != nil {
		return list, err
	}
	list = append(list, Picture{report.CodesName, codes.Bytes(), nil})
	if e.Val.Clips <= len(shown) {
		return list, nil // all are drawn
	}
	for _, some := range []struct {
		name  string
		clips []metrics.Clip
	}{{report.BestName, e.Val.Best}, {report.WorstName, e.Val.Worst}} {
		again, err := c.Evaluate(ctx, clips.only(some.clips[:min(drawn, len(some.clips))]), nil)
		if err == nil {
			err = draw(some.name, again.shown)
		}
		if err != nil {
			return list, err
		}
	}
	return list, nil
}
