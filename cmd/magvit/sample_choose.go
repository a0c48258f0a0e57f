package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"magvit/kernels"
	"magvit/trainer/probe"
	"magvit/trainer/task"
)

// openClassifier opens --classifier, and checks that it knows the prior's classes.
func (s *sampler) openClassifier(be kernels.Backend) error {
	run := s.c.String("classifier")
	if s.candidates = 1; run == "" && !s.c.IsSet("candidates") {
		return nil
	}
	if s.candidates = s.c.Int("candidates"); s.candidates < 1 || s.candidates > maxSamples {
		return usagef("--candidates %d: want 1 to %d", s.candidates, maxSamples)
	}
	if run == "" {
		return nil
	}
	t, _, err := task.Open(be, run)
	if err != nil {
		return fmt.Errorf("--classifier: %w", err)
	}
	p, ok := t.(*task.Predictor)
	if !ok {
		return usagef("--classifier %s: not a classifier; magvit train --preset i3d-small makes one", run)
	}
	if has, want := p.Config.Model.Classify.Classes, s.prior.Network.Config.Prior.Classes; has != want || want < 2 {
		return usagef("--classifier %s: of %d classes; the prior has %d: want the same ones, two or more", run, has, want)
	}
	if own, want := p.Classes, s.prior.Classes; own != nil && want != nil && !slices.Equal(own, want) {
		return usagef("--classifier %s: knows %s; the prior's classes are %s: want the same in the same order", run, strings.Join(own, ", "), strings.Join(want, ", "))
	}
	s.classifier = p
	return nil
}

// best draws the candidates of clips and returns, of each clip, the codes of the one that
// scores most for the clip's class; of a clip without a class the first. Candidate k of clip
// number i of all is drawn as clip k·all + i.
func (s *sampler) best(given []int32, classes []int, first, all int, how task.Sampling) (chosen []int32, err error) {
	if s.candidates == 1 {
		return s.prior.Sample(s.c.Context, given, classes, first, how)
	}
	if s.classifier == nil && len(s.c.StringSlice("from")) > 0 {
		return s.central(given, classes, first, all, how)
	}
	per := len(given) / len(classes)
	most := slices.Repeat([]float64{math.Inf(-1)}, len(classes))
	chosen = slices.Clone(given)
	for k := range s.candidates {
		codes, err := s.prior.Sample(s.c.Context, given, classes, k*all+first, how)
		if err != nil {
			return nil, err
		}
		scores, err := s.score(codes, classes, k*all+first)
		if err != nil {
			return nil, err
		}
		for n, score := range scores {
			if score > most[n] {
				most[n] = score
				copy(chosen[n*per:][:per], codes[n*per:][:per])
			}
		}
	}
	return chosen, nil
}

// score is the logarithm of the probability of the clips' classes, by the classifier, or by
// the prior itself; 0 for a clip without a class. first is the number of the first clip.
//
// Source: rejection by a classifier as in Razavi et al. 2019 (VQ-VAE-2).
func (s *sampler) score(codes []int32, classes []int, first int) ([]float64, error) {
	if s.classifier == nil {
		numbers := make([]int, len(classes))
		for n := range numbers {
			numbers[n] = first + n
		}
		of, err := s.prior.LogPosterior(codes, classes, numbers)
		if err != nil {
			err = fmt.Errorf("--candidates without --classifier or --from: %w", err)
		}
		return of, err
	}
	v := s.codec.VideoShape(s.shape(len(classes)))
	video, err := s.codec.Decode(codes, v)
	if err != nil {
		return nil, err
	}
	for i := range video {
		video[i] = min(max(video[i], 0), 1)
	}
	logits, _, err := s.classifier.Predict(video, v)
	if err != nil {
		return nil, fmt.Errorf("--classifier: %w", err)
	}
	scores, of := make([]float64, len(classes)), len(logits)/len(classes)
	for n, class := range classes {
		if class < of {
			scores[n] = logProbability(logits[n*of:][:of], class)
		}
	}
	return scores, nil
}

// central draws the candidates as best does and returns, of each clip, the codes of the one
// whose foreground's path is nearest to those of the others.
func (s *sampler) central(given []int32, classes []int, first, all int, how task.Sampling) ([]int32, error) {
	per, v := len(given)/len(classes), s.codec.VideoShape(s.shape(1))
	drawn, paths := make([][]int32, s.candidates), make([]probe.Candidates, len(classes))
	for k := range drawn {
		var err error
		if drawn[k], err = s.prior.Sample(s.c.Context, given, classes, k*all+first, how); err != nil {
			return nil, err
		}
		for n := range classes {
			video, err := s.codec.Decode(drawn[k][n*per:][:per], v)
			if err != nil {
				return nil, err
			}
			paths[n].Add(exampleOf("", video, v))
		}
	}
	chosen := make([]int32, 0, len(given))
	for n := range classes {
		chosen = append(chosen, drawn[paths[n].Central()][n*per:][:per]...)
	}
	return chosen, nil
}

// logProbability is the logarithm of the softmax of a value.
func logProbability(logits []float32, i int) float64 {
	most, sum := slices.Max(logits), 0.
	for _, v := range logits {
		sum += math.Exp(float64(v - most))
	}
	return float64(logits[i]-most) - math.Log(sum)
}
