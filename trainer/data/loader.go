package data

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"magvit/kernels/philox"
)

// Loader returns the batches of consecutive steps, prefetched by background
// goroutines. It is used by one goroutine.
//
// A batch depends on the clips, the configuration, the seed and its number only. A
// step has one batch, or as many as Restrict is given, all of whole clips or all of crops. Clips are drawn in epochs, each a random permutation of all clips;
// a crop counts as a clip. A clip that cannot be read is replaced by another one,
// chosen by the seed and its position in the sequence.
type Loader struct {
	cfg    Config // resolved
	reader *reader
	items  *items
	batch  int
	seed   uint64
	train  bool

	every, first, count int // batches of a step; of these, the first that is made, and how many are, see Restrict

	step    int // number of the next batch, among those that are made
	slots   []slot
	held    int // slot used by the caller, -1: none
	jobs    chan int
	cancel  context.CancelFunc
	workers sync.WaitGroup
	waited  time.Duration
	clock   stageClock

	mu     sync.Mutex
	orders map[int][]int // epoch to order, the last few
}

// slot holds a batch that is ready or being filled.
type slot struct {
	batch Batch
	step  int
	ready chan error
}

// NewLoader prepares batches of the clips of src named by indices; batch is the
// number of clips in a batch of whole clips. With train false the clips come in
// order, whole and not augmented.
func NewLoader(src Source, indices []int, cfg Config, batch int, seed uint64, train bool) (*Loader, error) {
	if batch < 1 {
		return nil, badf("batch: %d; legal: 1 or more", batch)
	}
	if len(indices) == 0 {
		return nil, badf("no clips to load")
	}
	cfg, err := Resolve(context.Background(), src, indices, cfg)
	if err != nil {
		return nil, err
	}
	if !train {
		cfg.Crop.Batch = 0
	}
	items, err := newItems(context.Background(), src, indices, cfg, train)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(src, cfg)
	if err != nil {
		return nil, err
	}
	l := &Loader{
		cfg: cfg, reader: reader, items: items, batch: batch, seed: seed, train: train,
		orders: map[int][]int{}, held: -1, every: 1, count: 1,
	}
	workers := max(cfg.Workers, 1)
	l.slots = make([]slot, workers+extraSlots)
	l.start()
	return l, nil
}

// extraSlots are the batches of a Loader besides those that its workers fill: one is used by the caller, one is ready.
const extraSlots = 2

// LoaderBytes is the memory of a Loader's batches, whose clips have the given number.
func (c Config) LoaderBytes(batch int) int64 {
	largest := int64(0)
	for _, s := range c.Shapes(batch) {
		largest = max(largest, 4*int64(s.N)*int64(s.T)*int64(s.H)*int64(s.W)*int64(s.C+1)) // video and weight
	}
	return largest * int64(max(c.Workers, 1)+extraSlots)
}

// start fills all slots from l.step on.
func (l *Loader) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.jobs = make(chan int, len(l.slots))
	l.held = -1
	for i := range l.slots {
		k := (l.step + i) % len(l.slots)
		l.slots[k].step, l.slots[k].ready = l.step+i, make(chan error, 1)
		l.jobs <- k
	}
	if l.count == 0 {
		return
	}
	for range max(l.cfg.Workers, 1) {
		l.workers.Go(func() { l.work(ctx, l.jobs) })
	}
}

// numbered is the number, among all batches, of the k-th batch that is made.
func (l *Loader) numbered(k int) int { return k/l.count*l.every + l.first + k%l.count }

func (l *Loader) work(ctx context.Context, jobs <-chan int) {
	s := sampler{cfg: l.cfg}
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-jobs:
			l.slots[k].ready <- l.fill(ctx, &s, &l.slots[k].batch, l.numbered(l.slots[k].step))
		}
	}
}

func (l *Loader) stop() {
	l.cancel()
	l.workers.Wait()
}

// Next returns the next batch. It is valid until the following Next, Seek or Close.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.held >= 0 {
		l.slots[l.held].step += len(l.slots)
		l.jobs <- l.held
		l.held = -1
	}
	k := l.step % len(l.slots)
	began := time.Now()
	defer func() { l.waited += time.Since(began) }()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-l.slots[k].ready:
		if err != nil {
			l.slots[k].ready <- err // the following calls return it too
			return nil, fmt.Errorf("batch of step %d: %w", l.numbered(l.step)/l.every, err)
		}
	}
	l.held = k
	l.step++
	return &l.slots[k].batch, nil
}

// Seek makes step the next one.
func (l *Loader) Seek(step int) {
	l.stop()
	l.step = step * l.count
	l.start()
}

// Restrict gives each step a number of batches, of which only those from up to to are made, and begins
// again with the first step. Without any, Next must not be called.
func (l *Loader) Restrict(batches, from, to int) {
	l.stop()
	l.every, l.first, l.count, l.step = batches, from, to-from, 0
	l.start()
}

// Close stops the workers. The Source stays open.
func (l *Loader) Close() { l.stop() }

// Config is the configuration with every size filled in.
func (l *Loader) Config() Config { return l.cfg }

// Shape is the shape of a step's batches.
func (l *Loader) Shape(step int) Shape { return l.cfg.Shape(step, l.batch) }

// Shapes lists the different shapes that batches have.
func (l *Loader) Shapes() []Shape { return l.cfg.Shapes(l.batch) }

// Epoch is the number of passes over the clips before a step; a crop counts as a clip.
func (l *Loader) Epoch(step int) float64 {
	return float64(l.cfg.first(step*l.every, l.batch, l.every)) / float64(l.items.len())
}

// Items is the number of clips, or of windows of clips (Config.Windows), in an epoch.
func (l *Loader) Items() int { return l.items.len() }

// Waited is the total time Next has waited for batches.
func (l *Loader) Waited() time.Duration { return l.waited }

// Skipped lists the unreadable clips found until now.
func (l *Loader) Skipped() []*ClipError { return l.reader.skipped() }

// CacheProblem says which decoded clips could not be stored in Config.Cache and why; "" if all were.
func (l *Loader) CacheProblem() string { return l.reader.cache.problem() }

// fill makes a batch.
func (l *Loader) fill(ctx context.Context, s *sampler, b *Batch, number int) error {
	b.resize(l.Shape(number / l.every))
	b.Number = number
	crop := l.train && !l.cfg.whole(number/l.every)
	for n := range b.N {
		if err := l.row(ctx, s, b, number, n, crop); err != nil {
			return err
		}
	}
	return nil
}

// row fills row n of a batch with the clip at its position of the sequence of
// all epochs, or with a replacement if that clip cannot be read.
func (l *Loader) row(ctx context.Context, s *sampler, b *Batch, number, n int, crop bool) error {
	position, items := l.cfg.first(number, l.batch, l.every)+n, l.items.len()
	item := l.order(position / items)[position%items]
	replace := philox.New(l.seed, "replace", uint64(position), 0)
	var last *ClipError
	for range maxUnreadable {
		i, start := l.items.at(item)
		var r *philox.Stream
		if l.train {
			r = philox.New(l.seed, "augment", uint64(number), uint64(n))
		}
		if crop && start > 0 {
			start = -1 // a crop is shorter than the windows that tile a film
		}
		began, resized := time.Now(), s.resized
		c, f, bg, skip, err := l.reader.read(ctx, i, request{
			choose: s.choose(l.cfg.windowing(b.T), start, r), resized: &s.resized,
			repeats: start >= 0 && (r == nil || !l.cfg.cropsAtRandom()),
		}, nil, &s.mem)
		if err != nil {
			return err
		}
		spent := Stages{Resize: s.resized - resized}
		spent.Decode = time.Since(began) - spent.Resize
		if skip == nil {
			began, resized = time.Now(), s.resized
			s.sample(b, n, c, bg, f, crop, r)
			b.Index[n] = i
			spent.Batch = time.Since(began) - (s.resized - resized)
			spent.Resize += s.resized - resized
			spent.Clips, spent.Frames = 1, c.T
		}
		l.clock.add(spent)
		if skip == nil {
			return nil
		}
		last, item = skip, replace.IntN(items)
	}
	return errors.Join(badf("%d clips in a row cannot be read", maxUnreadable), last)
}

// items are what an epoch consists of: windows of clips.
type items struct {
	clips []int    // by clip; each is count items
	count int      // 1 or more
	start int      // of every window; -1: at random
	tiles []tiling // instead of count: each clip's windows
	first []int    // number of tiles before each clip's, and the total
}

func newItems(ctx context.Context, src Source, indices []int, cfg Config, train bool) (*items, error) {
	count, all, first, err := cfg.windows()
	if err != nil {
		return nil, err
	}
	it := &items{clips: indices, count: count, start: -1}
	if first || !train && count == 1 {
		it.start = 0
	}
	if !all && (train || count == 1) {
		return it, nil
	}
	it.tiles, it.first = make([]tiling, len(indices)), make([]int, len(indices)+1)
	if err := it.tile(ctx, src, cfg); err != nil {
		return nil, err
	}
	for k, t := range it.tiles {
		it.first[k+1] = it.first[k] + t.n
	}
	return it, nil
}

// tile finds the windows of each clip, on all cores: of a large set each file is looked at.
func (it *items) tile(ctx context.Context, src Source, cfg Config) error {
	const chunk = 256
	w := cfg.windowing(cfg.Frames)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var once sync.Once
	var failed error
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(it.clips)/chunk+1) {
		group.Go(func() {
			for {
				at := int(next.Add(chunk)) - chunk
				if at >= len(it.clips) || ctx.Err() != nil {
					return
				}
				for k := at; k < min(at+chunk, len(it.clips)); k++ {
					n, times, err := length(ctx, src, it.clips[k])
					if bad := (*ClipError)(nil); errors.As(err, &bad) && !cfg.Strict {
						it.tiles[k] = tiling{n: 1} // it is left out when it is read
						continue
					}
					if err != nil {
						once.Do(func() { failed = err; cancel() })
						return
					}
					it.tiles[k] = cfg.tiling(n, w, times)
				}
			}
		})
	}
	group.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

func (it *items) len() int {
	if it.tiles != nil {
		return it.first[len(it.tiles)]
	}
	return it.count * len(it.clips)
}

// at is the clip of an item and the frame at which its window starts, -1: at random.
func (it *items) at(item int) (clip, start int) {
	if it.tiles == nil {
		return it.clips[item%len(it.clips)], it.start
	}
	k := sort.SearchInts(it.first, item+1) - 1
	return it.clips[k], it.tiles[k].start(item - it.first[k])
}

// order is the permutation of the clips in an epoch. The last few are cached:
// batches of neighbouring epochs may be filled at the same time.
func (l *Loader) order(epoch int) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.orders[epoch]; ok {
		return p
	}
	for e := range l.orders {
		if e < epoch-2 || e > epoch+2 {
			delete(l.orders, e)
		}
	}
	var p []int
	if l.train {
		p = philox.New(l.seed, "epoch", uint64(epoch), 0).Perm(l.items.len())
	} else {
		p = make([]int, l.items.len())
		for i := range p {
			p[i] = i
		}
	}
	l.orders[epoch] = p
	return p
}
