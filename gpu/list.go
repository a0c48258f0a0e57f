package gpu

import (
	"encoding/binary"
	"fmt"

	"magvit/kernels"
)

// list is launches, one after another, as drivers take them: of each the function (8
// bytes), grid and block (3 of 4 bytes each), bytes of dynamic shared memory (4) and
// of arguments (4), then the argument block, padded to 8. An entry whose function is 0 is an
// operation of collective.go: its number and whether values are bfloat16 are the grid's
// first two numbers, and its arguments 8 bytes each.
type list struct {
	bytes []byte
	of    []*packed // the launches, for error messages
}

const listHead = 8 + 6*4 + 2*4

func (l *list) reset() { l.bytes, l.of = l.bytes[:0], l.of[:0] }

func (l *list) add(p *packed) {
	b := binary.LittleEndian.AppendUint64(l.bytes, p.function)
	for _, n := range [...]uint32{p.Grid[0], p.Grid[1], p.Grid[2], p.Block[0], p.Block[1], p.Block[2], uint32(p.Shared), uint32(len(p.args))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	b = append(b, p.args...)
	for len(b)%8 > 0 {
		b = append(b, 0)
	}
	l.bytes, l.of = b, append(l.of, p)
}

// operate adds an operation, which errors call by its name.
func (l *list) operate(op operation, bf16 bool, name string, args ...uint64) {
	p := &packed{Launch: kernels.Launch{Kernel: name, Grid: [3]uint32{uint32(op)}}}
	if bf16 {
		p.Grid[1] = 1
	}
	for _, a := range args {
		p.args = binary.LittleEndian.AppendUint64(p.args, a)
	}
	l.add(p)
}

// wrap says which launch an error is about.
func (l *list) wrap(n int, err error) error {
	if err == nil || n >= len(l.of) {
		return err
	}
	p := l.of[n]
	if p.spec == nil { // an operation
		return fmt.Errorf("gpu: %s: %w", p.Kernel, err)
	}
	return fmt.Errorf("gpu: %s: kernel %s, grid %v, block %v, %d bytes of shared memory: %w", kernels.Name(p.spec), p.Kernel, p.Grid, p.Block, p.Shared, err)
}

// packed is a launch with its function and its argument block: tensor maps, then
// pointers, both filled in when it runs, then values.
type packed struct {
	kernels.Launch
	params   kernels.Params
	spec     kernels.Spec
	function uint64
	args     []byte
}

// pack encodes parameters: 128 bytes for each tensor map, 8 for each pointer, 4 for each
// value.
func pack(p kernels.Params) []byte {
	n := kernels.TensorMapSize*len(p.Maps) + 8*len(p.Pointers)
	b := make([]byte, n, n+4*len(p.Values))
	for _, v := range p.Values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// fill puts the addresses of operands into the argument block.
func (k *kernel) fill(p *packed, args []kernels.Buffer) error {
	for i, m := range p.params.Maps {
		bytes, err := k.dev.drv.(mapper).TensorMap(k.address(m.Operand, args), m)
		if err != nil {
			return fmt.Errorf("gpu: %s: kernel %s: tensor map %d, %+v: %w", kernels.Name(k.spec), p.Kernel, i, m, err)
		}
		copy(p.args[kernels.TensorMapSize*i:], bytes[:])
	}
	pointers := p.args[kernels.TensorMapSize*len(p.params.Maps):]
	for i, o := range p.params.Pointers {
		binary.LittleEndian.PutUint64(pointers[8*i:], k.address(o, args))
	}
	return nil
}

// Run enqueues the kernel's launches. An error waits for Sync.
func (k *kernel) Run(args ...kernels.Buffer) {
	if len(args) != len(k.lens) {
		panic(fmt.Sprintf("gpu: %s: %d arguments, want %d", kernels.Name(k.spec), len(args), len(k.lens)))
	}
	for i, a := range args {
		if a.Len() != k.lens[i] {
			panic(fmt.Sprintf("gpu: %s: argument %d (%s) has %d words, want %d", kernels.Name(k.spec), i, k.spec.Args()[i].Name, a.Len(), k.lens[i]))
		}
	}
	d := k.dev
	if d.second && k.workspace > 0 {
		panic(fmt.Sprintf("gpu: %s: a kernel with a workspace cannot overlap", kernels.Name(k.spec)))
	}
	if f, ok := d.drv.(forgetter); ok && k.workspace > 0 {
		f.Forget(d.workspace, k.workspace)
	}
	if !d.record {
		d.list.reset()
	}
	for i := range k.launches {
		if err := k.fill(&k.launches[i], args); err != nil {
			d.fail(err)
			return
		}
		d.list.add(&k.launches[i])
	}
	if !d.record {
		d.fail(d.list.wrap(d.drv.Launch(d.list.bytes)))
	}
}

// fail keeps the first error for Sync.
func (d *Device) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (k *kernel) address(o kernels.Operand, args []kernels.Buffer) uint64 {
	switch o.Memory {
	case kernels.ArgMemory:
		return args[o.Index].(buffer).address
	case kernels.WorkspaceMemory:
		return k.dev.workspace + 4*uint64(o.Index)
	}
	return 0
}

// Record takes the kernels that run enqueues, without enqueuing them, and returns what
// enqueues them all in one call, as a graph of the driver unless SetGraphs(false) was
// called. run must do nothing else with the device, and is called again if the
// kernels' memory has moved meanwhile.
func (d *Device) Record(run func()) (replay func() error, err error) {
	c, ok := d.drv.(capturer)
	if !ok {
		return func() error { run(); return nil }, nil
	}
	l, err := d.listed(run)
	if err != nil {
		return nil, err
	}
	workspace := d.workspace
	var graph func() error
	return func() (err error) {
		if workspace != d.workspace {
			if l, err = d.listed(run); err != nil {
				return err
			}
			workspace, graph = d.workspace, nil
		}
		if d.noGraphs {
			return l.wrap(d.drv.Launch(l.bytes))
		}
		if graph == nil {
			var n int
			if graph, n, err = c.Capture(l.bytes); err != nil {
				return l.wrap(n, err)
			}
		}
		return graph()
	}, nil
}

// listed is what run enqueues.
func (d *Device) listed(run func()) (list, error) {
	kept, before := d.list, d.err
	d.list, d.record, d.err = list{}, true, nil
	defer func() { d.list, d.record, d.err = kept, false, before }()
	run()
	return d.list, d.err
}

// SetGraphs chooses how what Record returned is enqueued: as a graph of the driver,
// which is the default, or launch by launch.
func (d *Device) SetGraphs(on bool) { d.noGraphs = !on }
