package model

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"magvit/kernels"
)

// recipe is how a training case was run.
type recipe struct {
	LR          float64    `json:"lr"`
	WeightDecay float64    `json:"weight_decay"`
	Betas       [2]float64 `json:"betas"`
	Eps         float64    `json:"eps"`
	Warmup      int        `json:"warmup_steps"`
	Accumulate  int        `json:"grad_accum_every"`
	MaxNorm     *float64   `json:"max_grad_norm"`
	Penalty     int        `json:"apply_gradient_penalty_every"` // adversarial
	Steps       int        `json:"steps"`
	EMA         average    `json:"ema"`
}

// average is ema-pytorch's rule.
type average struct {
	Beta        *float64 `json:"beta"`
	UpdateAfter *int     `json:"update_after_step"`
	UpdateEvery *int     `json:"update_every"`
	InvGamma    *float64 `json:"inv_gamma"`
	Power       *float64 `json:"power"`
	MinValue    *float64 `json:"min_value"`
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// decay is that of a call of the average, counted from 0; rate is how far the call
// moves it: 1 copies.
func (a average) decay(step int) float64 {
	k := float64(step - or(a.UpdateAfter, 100))
	if k <= 0 {
		return 0
	}
	return min(max(1-math.Pow(1+k/or(a.InvGamma, 1), -or(a.Power, 2./3)), or(a.MinValue, 0)), or(a.Beta, .9999))
}

func (a average) rate(step int) float64 {
	switch {
	case step == 0:
		return 1
	case step%or(a.UpdateEvery, 10) != 0:
		return 0
	case step <= or(a.UpdateAfter, 100):
		return 1
	}
	return 1 - a.decay(step)
}

// warm is the learning rate of an update, counted from 0.
func warm(lr float64, step, steps int) float64 { return lr * min(1, float64(step+1)/float64(steps)) }

// adamW is one update of parameters, moments and average, on the backend.
type adamW struct {
	kernel kernels.Kernel
	hyper  kernels.Buffer
	args   []kernels.Buffer
}

// newAdamW updates p, m, v and ema, buffers of one length, from the gradient g.
func (g *golden) newAdamW(norm2 kernels.Buffer, arenas ...kernels.Buffer) adamW {
	k, err := g.be.Prepare(kernels.AdamW{Len: arenas[0].Len()})
	check(g.t, err)
	hyper := g.alloc(kernels.HyperLen)
	return adamW{k, hyper, append(arenas, norm2, hyper)}
}

func (g *golden) alloc(n int) kernels.Buffer {
	b, err := g.be.Alloc(n)
	check(g.t, err)
	return b
}

func (g *golden) step(a adamW, update int, lr, decay, maxNorm, rate, scale float64, betas [2]float64, eps float64) {
	var h [kernels.HyperLen]float32
	for i, v := range map[int]float64{kernels.HyperLR: lr, kernels.HyperRate1: 1 - betas[0], kernels.HyperRate2: 1 - betas[1], kernels.HyperEps: eps,
		kernels.HyperDecay: decay, kernels.HyperCorrect1: 1 - math.Pow(betas[0], float64(update+1)), kernels.HyperCorrect2: 1 - math.Pow(betas[1], float64(update+1)),
		kernels.HyperMaxNorm: maxNorm, kernels.HyperEMARate: rate, kernels.HyperScale: scale} {
		h[i] = float32(v)
	}
	check(g.t, g.be.Write(a.hyper, h[:]))
	a.kernel.Run(a.args...)
}

func (g *golden) norm2(of kernels.Buffer) (kernels.Buffer, func() float64) {
	k, err := g.be.Prepare(kernels.SumSquares{Len: of.Len()})
	check(g.t, err)
	to := g.alloc(1)
	return to, func() float64 {
		k.Run(to, of)
		return float64(g.read(to)[0])
	}
}

func (g *golden) read(b kernels.Buffer) []float32 {
	v := make([]float32, b.Len())
	check(g.t, g.be.Read(v, b))
	return v
}

// optimizer compares traces of single rules.
func (g *golden) optimizer() {
	var steps int
	g.option("steps", &steps)
	switch g.Op {
	case "AdamW", "ClipGradNorm":
		g.updates(steps)
	case "EMA":
		text, err := json.Marshal(g.Config)
		check(g.t, err)
		var a average
		check(g.t, json.Unmarshal(text, &a))
		for name := range g.Config {
			g.must(name, g.Config[name])
			if !slices.Contains([]string{"beta", "update_after_step", "update_every", "inv_gamma", "power", "min_value"}, name) {
				g.t.Fatalf("unknown argument %s of EMA", name)
			}
		}
		values := g.take("in.values").values
		n := len(values) / steps
		p, m, v, ema, grad := g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n)
		update := g.newAdamW(g.alloc(1), p, m, v, ema, grad)
		var trace, decay []float32
		for k := range steps {
			check(g.t, g.be.Write(p, values[k*n:(k+1)*n]))
			g.step(update, k, 0, 0, 0, a.rate(k), 1, [2]float64{}, 1)
			trace = append(trace, g.read(ema)...)
			decay = append(decay, float32(a.decay(k)))
		}
		g.compare("out.ema", trace)
		g.compare("out.decay", decay)
	case "LinearWarmup":
		lr, warmup := g.number("lr", 0), g.size("warmup_steps", 0)
		var trace []float32
		for k := range steps {
			trace = append(trace, float32(warm(lr, k, warmup)))
		}
		g.compare("out.lr", trace)
		g.skip("out.lr_package_*", "rates that the package applies by mistake: nothing here follows them")
	default:
		g.t.Fatalf("unknown optimizer %q", g.Op)
	}
}

// updates compares AdamW or clipping, tensor after tensor in one arena.
func (g *golden) updates(steps int) {
	names := g.names("param.")
	var offsets []int
	n := 0
	for _, name := range names {
		offsets = append(offsets, n)
		n += (len(g.take("param."+name).values) + 15) / 16 * 16 // AdamW's buffers start on cache lines
	}
	p, m, v, ema, grad := g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n)
	norm2, square := g.norm2(grad)
	clip := g.Op == "ClipGradNorm"
	lr, wd, maxNorm, betas, eps := 0., 0., 0., [2]float64{.9, .99}, 1e-8
	if clip { // the first moment is the gradient then
		maxNorm, betas = g.number("max_norm", 0), [2]float64{}
	} else {
		lr, wd, eps = g.number("lr", 0), g.number("wd", 0), g.number("eps", eps)
		g.config("betas", &betas)
	}
	var each []adamW
	for i, name := range names {
		a := g.take("param." + name)
		part := func(b kernels.Buffer) kernels.Buffer { return b.Slice(offsets[i], offsets[i]+len(a.values)) }
		check(g.t, g.be.Write(part(p), a.values))
		each = append(each, g.newAdamW(norm2, part(p), part(m), part(v), part(ema), part(grad)))
	}
	traces, norms := make([][]float32, len(names)), []float32(nil)
	for k := range steps {
		for i, name := range names {
			a := g.take("in.grad." + name).values
			size := len(a) / steps
			check(g.t, g.be.Write(each[i].args[4], a[k*size:(k+1)*size]))
		}
		norms = append(norms, float32(math.Sqrt(square())))
		for i, name := range names {
			decay := 0.
			if len(g.take("param."+name).shape) > 1 {
				decay = wd
			}
			g.step(each[i], k, lr, decay, maxNorm, 0, 1, betas, eps)
			of := each[i].args[0]
			if clip {
				of = each[i].args[1]
			}
			traces[i] = append(traces[i], g.read(of)...)
		}
	}
	for i, name := range names {
		if clip {
			g.compare("out.clipped."+name, traces[i])
			continue
		}
		g.compare("out."+name, traces[i])
		g.compare("out.exp_avg."+name, g.read(each[i].args[1]))
		g.compare("out.exp_avg_sq."+name, g.read(each[i].args[2]))
	}
	if clip {
		g.compare("out.norm", norms)
	}
}

// training compares the curves of a run, its first and last parameters and their
// average: the recipe of the reference's trainer, as meant.
func (g *golden) training() {
	if g.Op != "recipe" {
		g.t.Fatalf("unknown training %q", g.Op)
	}
	c := g.adversarialConfig(g.reference())
	var o recipe
	g.set("options", g.Options, &o)
	for _, name := range []string{"lr", "weight_decay", "betas", "eps", "warmup_steps", "grad_accum_every", "max_grad_norm", "apply_gradient_penalty_every", "steps", "ema"} {
		g.used["option:"+name] = true
	}
	tok, err := New(c)
	check(g.t, err)
	given := g.state(tok, "param.")

	// Parameters with weight decay come first.
	offsets, n, ends := make([]int, len(tok.Params)), 0, [4]int{} // of the tokenizer, decayed and not, then of the discriminator
	for part := range ends {
		for _, i := range tok.OptimizerOrder() {
			if p := tok.Params[i]; p.Discriminator == (part > 1) && p.Decay == (part%2 == 0) {
				offsets[i] = n
				n += (p.Len() + 15) / 16 * 16
			}
		}
		ends[part] = n
	}
	p, m, v, ema, grads, sum := g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n), g.alloc(n)
	for i, values := range given {
		check(g.t, g.be.Write(p.Slice(offsets[i], offsets[i]+len(values)), values))
	}
	norm2, square := g.norm2(sum.Slice(0, ends[1]))
	update := func(from, to int, gradient kernels.Buffer) adamW {
		return g.newAdamW(norm2, p.Slice(from, to), m.Slice(from, to), v.Slice(from, to), ema.Slice(from, to), gradient.Slice(from, to))
	}
	first, second := update(0, ends[0], sum), update(ends[0], ends[1], sum)
	add, err := g.be.Prepare(kernels.Add{Len: n})
	check(g.t, err)

	batches := g.take("in.batches")
	s := Shape{batches.shape[1], batches.shape[3], batches.shape[4], batches.shape[5]}
	size := len(batches.values) / batches.shape[0]
	batch := func(k int) []float32 {
		k %= batches.shape[0]
		return array{shape: batches.shape[1:], values: batches.values[k*size : (k+1)*size]}.channelsLast()
	}
	build := tok.Training
	if g.adversarial() {
		build = func(s Shape) (*Graph, error) { return tok.GeneratorStep(s, false) }
	}
	graph, err := build(s)
	check(g.t, err)
	prog, err := graph.Compile(g.be, p, grads, offsets)
	check(g.t, err)
	check(g.t, g.be.Write(prog.Buffer("weight"), slices.Repeat([]float32{1}, prog.Buffer("weight").Len())))

	var steps [2]*Program // of the discriminator, without and with the penalty
	for i := range steps {
		if g.adversarial() {
			graph, err := tok.DiscriminatorStep(s, i == 1, false)
			check(g.t, err)
			graph.Given = map[string]kernels.Buffer{"real": prog.Buffer("video"), "fake": prog.Buffer("recon")}
			steps[i], err = graph.Compile(g.be, p, grads, offsets)
			check(g.t, err)
		}
	}
	frames := func(prog *Program, name string, step int) {
		if !g.adversarial() {
			return
		}
		for _, node := range prog.scheduled {
			if strings.HasSuffix(node.node.Name(), " frames") {
				check(g.t, g.be.Write(prog.Plan.Buffer(node.node), positions(g.take(name).ints[step*s.N:(step+1)*s.N])))
			}
		}
	}

	curves := map[string][]float32{}
	position := 0
	for step := range o.Steps {
		check(g.t, g.be.Write(sum, make([]float32, n)))
		sums := map[string]float64{"generator": 0, "aux": 0}
		for range o.Accumulate {
			check(g.t, g.be.Write(prog.Buffer("video"), batch(position)))
			position++
			frames(prog, "in.frames_generator", step)
			check(g.t, prog.Run())
			add.Run(sum, sum, grads)
			share := 1 / float64(o.Accumulate)
			total := float64(g.read(prog.Loss())[0])
			sums["total"] += total * share
			rest, aux := total, false
			for _, term := range prog.Terms {
				if value := float64(g.read(term.Buffer)[0]); term.Name == "recon" || term.Name == "generator" {
					sums[term.Name] += value * share
					rest -= value // both have weight 1
				} else if term.Name != "adversarial_share" {
					aux = true
				}
			}
			if aux && c.Quantizer.AuxWeight != 0 {
				sums["aux"] += rest / c.Quantizer.AuxWeight * share
			}
		}
		for name, v := range sums {
			curves["loss."+name] = append(curves["loss."+name], float32(v))
		}
		scale, lr := 1/float64(o.Accumulate), warm(o.LR, step, o.Warmup)
		curves["grad_norm"] = append(curves["grad_norm"], float32(math.Sqrt(square())*scale))
		curves["lr"] = append(curves["lr"], float32(lr))
		g.step(first, step, lr, o.WeightDecay, or(o.MaxNorm, 0), o.EMA.rate(step), scale, o.Betas, o.Eps)
		g.step(second, step, lr, 0, or(o.MaxNorm, 0), o.EMA.rate(step), scale, o.Betas, o.Eps)
		if step == 0 {
			g.parametersOf(tok, "step1.", p, offsets)
		}
		if g.adversarial() { // on the reconstruction of the next batch
			check(g.t, g.be.Write(prog.Buffer("video"), batch(position)))
			position++
			check(g.t, prog.Run())
			of := steps[0]
			if step%o.Penalty == 0 {
				of = steps[1]
			}
			frames(of, "in.frames_discriminator", step)
			check(g.t, of.Run())
			values := map[string]float32{"total": g.read(of.Loss())[0], "gradient_penalty": 0}
			for _, term := range of.Terms {
				values[term.Name] = g.read(term.Buffer)[0]
			}
			for name, value := range map[string]float32{"total": values["total"], "hinge": values["discriminator"], "gradient_penalty": values["gradient_penalty"]} {
				curves["loss_discr."+name] = append(curves["loss_discr."+name], value)
			}
			g.step(update(ends[1], ends[2], grads), step, lr, o.WeightDecay, 0, 0, 1, o.Betas, o.Eps)
			g.step(update(ends[2], ends[3], grads), step, lr, 0, 0, 0, 1, o.Betas, o.Eps)
		}
	}
	for name, curve := range curves {
		if limits := g.PerStep[name]; limits != nil {
			g.within(name, curve, g.take(name).values, func(i int) float64 { return limits[i] }, nil)
		} else {
			g.compare(name, curve)
		}
	}
	g.parametersOf(tok, "final.", p, offsets)
	g.parametersOf(tok, "ema.", ema, offsets)

	enc, err := tok.Encoder(s)
	check(g.t, err)
	last, err := enc.Compile(g.be, p, nil, offsets)
	check(g.t, err)
	check(g.t, g.be.Write(last.Buffer("video"), batch(0)))
	check(g.t, last.Run())
	g.compareCodes(g.read(last.Buffer("codes")))
}

// parametersOf compares an arena of parameters. Parameters that the network carries
// and does not use are compared too: they stay.
func (g *golden) parametersOf(tok *Tokenizer, prefix string, arena kernels.Buffer, offsets []int) {
	g.t.Helper()
	for i, p := range tok.Params {
		if p.Discriminator && prefix != "final." { // the files have no others
			continue
		}
		got := make([]float32, p.Len())
		p.ToReference(got, g.read(arena.Slice(offsets[i], offsets[i]+p.Len())))
		if g.has(prefix + p.Name) {
			g.compare(prefix+p.Name, got)
		} else if !strings.Contains(p.Name, "encoder_layers.") {
			g.t.Errorf("the file has no %s%s", prefix, p.Name)
		}
	}
}
