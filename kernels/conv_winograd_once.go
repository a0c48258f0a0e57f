package kernels

// winogradOnceRows is how many rows of U there are at a time where it is read once: with F(4×4,3×3) they are
// less than half of an L2 of a MiB.
const winogradOnceRows = 96

// shared is how many frames of the result have tap i in time on a frame of the source:
// those from first on.
func (p *winograd) shared(i int) (first, n int) {
	d := p.offsets[i]
	first = max(0, -d)
	return first, max(0, min(p.frames, p.srcT-d)-first)
}

// oncePlane is the size of a plane of some rows of U.
func (p *winograd) oncePlane(panel winogradSpan) int { return winogradOnceRows*panel.n + winogradPad }

// productsOnce writes M for a panel of result channels. It makes some rows of U by the weights,
// adds their products, and goes on to the next rows.
func (p *winograd) productsOnce(w *winogradWorker, m, v, weights []float32, fill winogradFill, panel winogradSpan, s int) {
	cols, plane := panel.n, p.oncePlane(panel)
	u := m[p.planes()*p.mPlane:]
	scratch := u[p.planes()*plane:]
	some := false
	for _, tap := range p.order {
		first, n := p.shared(tap)
		if !some && n < p.frames {
			for i := range p.planes() {
				clear(m[i*p.mPlane:][:p.frames*s*cols])
			}
			some = true
		}
		if n == 0 {
			break
		}
		from, to := (first+p.offsets[tap])*s*p.ldv, first*s*cols
		for k := 0; k < p.c; k += winogradOnceRows {
			rows := min(winogradOnceRows, p.c-k)
			p.pack(u, plane, w, scratch, weights, fill, tap, k, rows, panel)
			for i := range p.planes() {
				sums := m[i*p.mPlane:][:p.mPlane]
				add, sadd := p.zeros, 0
				if some {
					add, sadd = sums[to:], cols
				}
				p.tiles.multiply(n*s, cols, rows, v[i*p.vPlane+from+k:], p.ldv, 1, matrix{u[i*plane:], cols}, add, sadd, sums[to:], cols)
			}
			some = true
		}
	}
}
