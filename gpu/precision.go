package gpu

import "magvit/kernels"

// Precision tells what the products of convolutions are computed in.
func (d *Device) Precision() kernels.Precision { return d.precision }

// round makes the program read s's operands of products rounded to bfloat16: copies of
// them in scratch memory.
func (p *program) round(s kernels.Spec) {
	rounds := &program{scratch: p.scratch}
	rounded := map[int]operand{}
	for _, i := range kernels.Products(s) {
		n := s.Args()[i].Len()
		rounded[i] = rounds.reserve(n)
		rounds.each("round_bf16", n, []operand{rounded[i], arg(i)})
	}
	for _, l := range p.launches {
		for j, o := range l.pointers {
			if r, ok := rounded[o.arg]; ok {
				l.pointers[j] = r
			}
		}
	}
	p.launches, p.scratch = append(rounds.launches, p.launches...), rounds.scratch
}
