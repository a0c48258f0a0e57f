package main

import (
	"fmt"

	"magvit/trainer/codes"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/probe"
)

// judged is what sample --judge prints.
type judged struct {
	written
	Generated *probe.Generated `json:"generated,omitempty"`
	Predicted *probe.Predicted `json:"predicted,omitempty"` // instead, with --from
}

// judge compares the samples with real clips.
//
// Why reconstructions of the real clips next to the originals: what the tokenizer loses is no
// fault of the prior.
func (s *sampler) judge(b codes.Block, classes []int) error {
	r := judged{written: written{Path: s.c.String("out"), Clips: len(b.Names)}}
	opened, err := data.Open(s.c.Context, s.c.StringSlice("judge"), data.Options{})
	if err != nil {
		return err
	}
	defer opened.Close()
	src, err := s.prior.Renumbered(opened)
	if err != nil {
		return fmt.Errorf("--judge: %w", err)
	}
	if len(s.c.StringSlice("from")) > 0 {
		r.Predicted, err = s.judgePredicted(b, src)
	} else {
		r.Generated, err = s.judgeGenerated(b, classes, src)
	}
	if err != nil {
		return err
	}
	s.p.close()
	if s.c.Bool("json") {
		return printJSON(s.c, r)
	}
	if r.Predicted != nil {
		return probe.WritePredicted(s.c.App.Writer, *r.Predicted)
	}
	return probe.WriteGenerated(s.c.App.Writer, *r.Generated)
}

// judgeGenerated fits a classifier on the originals of the clips that the prior was trained on,
// of the given ones, and compares the others and the samples.
func (s *sampler) judgeGenerated(b codes.Block, classes []int, src data.Source) (*probe.Generated, error) {
	train, held, err := data.Split(src, s.prior.Config.Data.ValShare)
	if err != nil {
		return nil, err
	}
	var fitted, others probe.Reconstructed
	var generated probe.Paths
	for _, set := range []struct {
		clips []int
		to    *probe.Reconstructed
	}{{train, &fitted}, {held, &others}} {
		if err := s.eachReconstructed(src, set.clips, func(_ int, original, decoded probe.Example) error {
			if err := set.to.Originals.Add(original); err != nil {
				return err
			}
			return set.to.Decoded.Add(decoded)
		}); err != nil {
			return nil, err
		}
	}
	err = s.eachSample(b, func(n int, e probe.Example) error {
		if e.Label = classes[n]; e.Label == s.prior.Network.Config.Prior.Classes {
			return usagef("--judge: samples without a class; leave --class none out")
		}
		return generated.Add(e)
	})
	if err != nil {
		return nil, err
	}
	g, err := probe.JudgeGenerated(s.c.Context, src.Classes(), generated, fitted, others, s.c.Uint64("seed"))
	return &g, err
}

// judgePredicted compares samples that go on from the first frames of clips with the clips.
func (s *sampler) judgePredicted(b codes.Block, src data.Source) (*probe.Predicted, error) {
	at := map[string]int{}
	for n, name := range b.Names {
		at[name] = n
	}
	samples := make([]probe.Example, len(b.Names))
	if err := s.eachSample(b, func(n int, e probe.Example) error { samples[n] = e; return nil }); err != nil {
		return nil, err
	}
	var clips []int
	for i := range src.Len() {
		if _, ok := at[src.Name(i)]; ok {
			clips = append(clips, i)
		}
	}
	if len(clips) == 0 {
		return nil, usagef("--judge: none of the clips of --from is among these; want the same ones")
	}
	given := s.shape(1)
	given[1] = s.framesGiven()
	seen := s.codec.VideoShape(given).T
	p, short := &probe.Predicted{}, 0
	err := s.eachReconstructed(src, clips, func(frames int, truth, _ probe.Example) error {
		if frames <= seen {
			short++
			return nil
		}
		truth.T, truth.Video = frames, truth.Video[:len(truth.Video)/truth.T*frames]
		p.Add(truth, samples[at[truth.Name]], seen)
		return nil
	})
	if err == nil && p.Clips == 0 {
		return nil, usagef("--judge: none of %s has more than the %d frames that are given; nothing is predicted", metrics.Plural(short, "clip"), seen)
	}
	if short > 0 {
		s.p.log.Warn(fmt.Sprintf("%s of %d frames or fewer left out: nothing of them is predicted", metrics.Plural(short, "clip"), seen))
	}
	p.Means(src.Classes())
	return p, err
}

// exampleOf is a clip for package probe.
func exampleOf(name string, video []float32, v data.Shape) probe.Example {
	return probe.Example{Name: name, Video: video, T: v.T, H: v.H, W: v.W, C: v.C, Label: -1}
}

// eachSample decodes the samples one after the other.
func (s *sampler) eachSample(b codes.Block, do func(n int, e probe.Example) error) error {
	v, per := s.codec.VideoShape(s.shape(1)), len(b.Codes)/len(b.Names)
	for n := range b.Names {
		video, err := s.codec.Decode(b.Codes[n*per:][:per], v)
		if err != nil {
			return err
		}
		if err := do(n, exampleOf(b.Names[n], video, v)); err != nil {
			return err
		}
	}
	return s.c.Context.Err()
}

// eachReconstructed gives do labelled clips, as they are and as the tokenizer gives them back,
// and how many of their frames are not repeated ones.
func (s *sampler) eachReconstructed(src data.Source, clips []int, do func(frames int, original, reconstructed probe.Example) error) error {
	skipped, err := data.Each(s.c.Context, src, clips, s.codec.Config.Data, 1, func(b *data.Batch) error {
		code, err := s.codec.Encode(b.Video, b.Shape())
		if err != nil {
			return err
		}
		video, err := s.codec.Decode(code, b.Shape())
		if err != nil {
			return err
		}
		original, reconstructed := exampleOf(b.Names[0], b.Video, b.Shape()), exampleOf(b.Names[0], video, b.Shape())
		original.Label, reconstructed.Label = b.Labels[0], b.Labels[0]
		return do(b.Frames[0], original, reconstructed)
	})
	for _, e := range skipped {
		s.p.log.Warn("clip left out: " + e.Error())
	}
	return err
}
