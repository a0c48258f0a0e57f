package trainer

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/ranks"
)

// A bucket is whole parameters, the last first, those with weight decay first and buffers last.
func TestCut(t *testing.T) {
	state := &checkpoint.State{Layout: checkpoint.Layout{Params: make([]model.Param, 5), Offsets: []int{0, 64, 16, 80, 96}}}
	section := checkpoint.Section{From: 0, Decayed: 80, Trained: 96, To: 112} // 64..80 is the last with decay
	for _, c := range []struct {
		size int
		want [][2]int
	}{{0, [][2]int{{0, 80}, {80, 96}, {96, 112}}}, {1, [][2]int{{64, 80}, {16, 64}, {0, 16}, {80, 96}, {96, 112}}}, {20, [][2]int{{16, 80}, {0, 16}, {80, 96}, {96, 112}}}} {
		var got [][2]int
		params := 0
		for _, b := range cut(&optimizer{state: state, section: section}, c.size) {
			got, params = append(got, [2]int{b.from, b.to}), params+len(b.params)
		}
		if !slices.Equal(got, c.want) || params != 5 {
			t.Errorf("buckets of %d values or more: %v of %d parameters, want %v", c.size, got, params, c.want)
		}
	}
}

// After the launches that Final counts a gradient has its value, and before the last of them it
// has not.
func TestGradientsAreFinal(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	o, _ := small(t)
	net, err := model.Build(o.Config.Model)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStepper(be, net, o.Config)
	if err != nil {
		t.Fatal(err)
	}
	of := data.Shape{N: 2, T: net.Padded(o.Config.Data.Frames), H: o.Config.Model.ImageSize, W: o.Config.Model.ImageSize, C: o.Config.Model.Channels}
	p, err := s.program(of)
	if err != nil {
		t.Fatal(err)
	}
	video := make([]float32, of.Values())
	for i := range video {
		video[i] = float32(i%97) / 97
	}
	if err := errors.Join(be.Write(p.Buffer("video"), video), be.Write(p.Buffer("weight"), slices.Repeat([]float32{1}, of.Pixels()))); err != nil {
		t.Fatal(err)
	}
	grads := []float32(s.state.Grads.(kernels.Host))
	for i := range grads {
		grads[i] = float32(math.NaN())
	}
	gradient := func(i int) []float32 { return s.state.Part(grads, i) }
	early := make([][]float32, len(p.Final))
	last := 0
	for n := range p.Plan.Launches() + 1 {
		for i, final := range p.Final {
			switch {
			case final > 0 && n == final-1 && math.Float32bits(gradient(i)[0]) != math.Float32bits(float32(math.NaN())):
				t.Errorf("%s: its gradient is written before launch %d", s.state.Layout.Params[i].Name, final)
			case final > 0 && n == final:
				early[i] = slices.Clone(gradient(i))
				last = max(last, n)
			}
		}
		if n < p.Plan.Launches() {
			p.Plan.EnqueueRange(n, n+1)
		}
	}
	seen := map[int]bool{}
	for i := range early {
		if early[i] == nil {
			continue
		}
		seen[p.Final[i]] = true
		if !slices.Equal(early[i], gradient(i)) || slices.ContainsFunc(early[i], func(v float32) bool { return v != v }) {
			t.Errorf("gradient %d changes after launch %d", i, p.Final[i])
		}
	}
	if len(seen) < 10 || last > p.Plan.Launches() {
		t.Errorf("gradients are final at %d places, the last %d of %d: nothing can overlap", len(seen), last, p.Plan.Launches())
	}
}

// ranked are settings of short runs that ranks divide.
var ranked = []string{"train.batch=1", "train.accumulate=4", "train.steps=3", "train.eval_every=0", "train.eval_clips=1", "train.samples=0"}

// The weights have the same bits whatever the buckets are.
func TestBucketsKeepBits(t *testing.T) {
	for _, name := range []string{"fsq", "gan"} {
		sets := slices.Concat(ranked, variants[name])
		one, errs := runRanks(t, 1, time.Minute, nil, sets...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		want := tensorsOf(t, one.Out)
		for _, bucket := range []string{"0", "0.000001", "0.01"} {
			o, errs := runRanks(t, 2, time.Minute, nil, append(slices.Clone(sets), "train.bucket="+bucket)...)
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%s, bucket %s: %v", name, bucket, err)
			}
			if !bytes.Equal(tensorsOf(t, o.Out), want) {
				t.Errorf("%s, buckets of %s MB: other weights than of one process", name, bucket)
			}
		}
	}
}

// Gradients that are sent in bfloat16 have other bits, again and again the same, and a loss near that of float32.
func TestGradientsInBF16(t *testing.T) {
	var weights [3][]byte
	var last [3]float64
	for i, reduce := range []string{"exact", "bf16", "bf16"} {
		o, errs := runRanks(t, 2, time.Minute, nil, append(slices.Concat(ranked, variants["vq"]), "train.reduce="+reduce)...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		steps, _ := logged(t, o.Out)
		weights[i], last[i] = tensorsOf(t, o.Out), steps[len(steps)-1]["loss"].(float64)
	}
	if bytes.Equal(weights[0], weights[1]) || !bytes.Equal(weights[1], weights[2]) || math.Abs(last[1]/last[0]-1) > .01 {
		t.Errorf("losses %v; want the same weights of both runs in bf16, others in float32, and losses within 1 %%", last)
	}
}

// collective is a CPU that exchanges its memory as GPUs do.
type collective struct {
	*kernels.CPU
	t          ranks.Transport
	overlapped *atomic.Int64
}

func (c collective) Ranks() (rank, size int)                   { return c.t.Rank(), c.t.Size() }
func (c collective) AllReduce(kernels.Buffer, bool)            { panic("not in an order of ranks") }
func (c collective) ReduceScatter(_, _ kernels.Buffer, _ bool) { panic("not in an order of ranks") }
func (c collective) Overlap(run func())                        { c.overlapped.Add(1); run() }
func (c collective) Join()                                     {}

func (c collective) AllGather(dst, src kernels.Buffer) {
	n := src.Len()
	c.move(dst, func(int) kernels.Buffer { return src }, n)
}

func (c collective) Exchange(dst, src kernels.Buffer) {
	n := src.Len() / c.t.Size()
	c.move(dst, func(i int) kernels.Buffer { return src.Slice(i*n, (i+1)*n) }, n)
}

// move fills part i of dst with what rank i sends here.
func (c collective) move(dst kernels.Buffer, to func(i int) kernels.Buffer, n int) {
	send, recv := make([][]byte, c.t.Size()), make([][]byte, c.t.Size())
	for i := range send {
		part := dst.Slice(i*n, (i+1)*n).(kernels.Host)
		if i == c.t.Rank() {
			copy(part, to(i).(kernels.Host))
			continue
		}
		send[i], recv[i] = ranks.Bytes(to(i).(kernels.Host)), ranks.Bytes(part)
	}
	if _, err := c.t.Start(0, send, recv).Wait(context.Background()); err != nil {
		panic(err)
	}
}

// Devices that exchange gradients within the recorded step give the bits of one process, with
// sharded moments too.
func TestDevicesHaveTheSameBits(t *testing.T) {
	for name, size := range map[string]int{"fsq": 4, "gan": 2, "vq": 3, "lfq": 2} {
		sets := slices.Concat(ranked, variants[name], []string{"train.bucket=0.01"})
		if name == "vq" || name == "gan" {
			sets = append(sets, "train.shard_optimizer=true")
		}
		one, errs := runRanks(t, 1, time.Minute, nil, sets...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var overlapped atomic.Int64
		devices := ranks.InProcess(size)
		o, errs := runRanks(t, size, time.Minute, func(rank int, o *Options) context.Context {
			o.Backend = collective{o.Backend.(*kernels.CPU), devices[rank], &overlapped}
			return t.Context()
		}, sets...)
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(tensorsOf(t, o.Out), tensorsOf(t, one.Out)) {
			t.Errorf("%s on %d devices: other weights than of one process", name, size)
		}
		if overlapped.Load() < int64(3*size*3) {
			t.Errorf("%s: %d buckets in three steps of %d devices", name, overlapped.Load(), size)
		}
	}
}
