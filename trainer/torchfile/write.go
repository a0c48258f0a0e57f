package torchfile

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// WriteTokenizer writes a file that torch.load and the reference's VideoTokenizer.init_and_load_from read: state in its
// order, the version of the reference that the file is meant for, and the constructor's arguments as plain values (integers
// as int or int64; nil if unknown; the reference then fails because image_size is missing). Equal input gives equal bytes. Every tensor gets a storage of its own.
func WriteTokenizer(w io.Writer, state []NamedTensor, version string, config *Dict) error {
	if config == nil {
		config = NewDict()
	}
	arguments, _, err := encode(4, config)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	dict, err := stateDict(state, "")
	if err != nil {
		return fmt.Errorf("model_state_dict: %w", err)
	}
	return Write(w, NewDict().Set("model_state_dict", dict).Set("version", version).Set("config", arguments))
}

// WriteTrainer writes a file that torch.load reads, with the parts of t under the reference's names and in its order: model,
// ema_model, optimizer, discr_optimizer (if there is one), the entries of t.Rest (warmup, scheduler, ..., which the
// reference's own load asks for), step. Equal input gives equal bytes.
func WriteTrainer(w io.Writer, t *Trainer) error {
	model, err := stateDict(t.Model, "")
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	average, err := stateDict(t.Average, "ema_model.")
	if err != nil {
		return fmt.Errorf("ema_model: %w", err)
	}
	initted, err := NewTensor(Bool, nil, []byte{0})
	if err != nil {
		return err
	}
	if t.AverageInitted {
		initted.storage.at = memory{1}
	}
	step, err := FromInt64(nil, []int64{t.AverageStep})
	if err != nil {
		return err
	}
	average.Entries = append([]Entry{{"initted", initted}, {"step", step}}, average.Entries...)
	root := NewDict().Set("model", model).Set("ema_model", average)
	for _, part := range []struct {
		key string
		*Optimizer
	}{{"optimizer", t.Optimizer}, {"discr_optimizer", t.Discriminator}} {
		if part.Optimizer == nil {
			continue
		}
		value, err := part.dict()
		if err != nil {
			return fmt.Errorf("%s: %w", part.key, err)
		}
		root.Set(part.key, value)
	}
	if t.Rest != nil {
		for _, e := range t.Rest.Entries {
			if _, taken := root.Lookup(e.Key); taken || e.Key == "step" {
				return fmt.Errorf("rest: %v is a part of its own", e.Key)
			}
			root.Set(e.Key, e.Value)
		}
	}
	return Write(w, root.Set("step", t.Step))
}

func stateDict(state []NamedTensor, prefix string) (*Dict, error) {
	d := &Dict{Ordered: true}
	for _, named := range state {
		if named.Tensor == nil {
			return nil, fmt.Errorf("%q has no tensor", named.Name)
		}
		if _, twice := d.Get(prefix + named.Name); twice {
			return nil, fmt.Errorf("%q is given twice", named.Name)
		}
		d.Set(prefix+named.Name, named.Tensor)
	}
	return d, nil
}

func (o *Optimizer) dict() (*Dict, error) {
	state := NewDict()
	for _, m := range o.Moments {
		if m.ExpAvg == nil || m.ExpAvgSquared == nil {
			return nil, fmt.Errorf("parameter %d lacks a moment", m.Param)
		}
		if m.Step < 0 || m.Step > 1<<24 {
			return nil, fmt.Errorf("parameter %d: step %d; torch keeps it in float32, up to %d", m.Param, m.Step, 1<<24)
		}
		step, err := FromFloat32(nil, []float32{float32(m.Step)})
		if err != nil {
			return nil, err
		}
		state.Set(int64(m.Param), NewDict().Set("step", step).Set("exp_avg", m.ExpAvg).Set("exp_avg_sq", m.ExpAvgSquared))
	}
	groups := &List{}
	for _, g := range o.Groups {
		group := NewDict()
		if g.Options != nil {
			for _, e := range g.Options.Entries {
				group.Set(e.Key, e.Value)
			}
		}
		params := &List{}
		for _, p := range g.Params {
			params.Items = append(params.Items, int64(p))
		}
		groups.Items = append(groups.Items, group.Set("params", params))
	}
	return NewDict().Set("state", state).Set("param_groups", groups), nil
}

// alignment is that of torch.save: tensors start at multiples of it, so that a file can be mapped.
const alignment = 64

// Write writes a tree of plain values and tensors (see Read) as torch.save does, entry for entry. Equal trees give equal
// bytes.
func Write(w io.Writer, root any) error {
	pickle, tensors, err := encode(2, root)
	if err != nil {
		return err
	}
	a := &archiveWriter{counter: counter{w: w}, digest: sha256.New()}
	a.zip = zip.NewWriter(&a.counter)
	for _, e := range []struct{ name, data string }{{"data.pkl", string(pickle)}, {".format_version", "1"},
		{".storage_alignment", fmt.Sprint(alignment)}, {"byteorder", "little"}} {
		if err := a.add(e.name, []byte(e.data)); err != nil {
			return err
		}
	}
	for i, t := range tensors {
		data, err := t.Bytes()
		if err != nil {
			return err
		}
		if err := a.add(fmt.Sprintf("data/%d", i), data); err != nil {
			return err
		}
	}
	if err := a.add("version", []byte("3\n")); err != nil {
		return err
	}
	sum := a.digest.Sum(nil)
	id := fmt.Sprintf("%020d%020d", binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:]))
	if err := a.add(".data/serialization_id", []byte(id)); err != nil {
		return err
	}
	return a.zip.Close()
}

type archiveWriter struct {
	counter counter
	zip     *zip.Writer
	digest  interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// counter counts the bytes written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// add writes an entry uncompressed, its data aligned by an extra field "FB" of padding.
func (a *archiveWriter) add(name string, data []byte) error {
	if err := a.zip.Flush(); err != nil {
		return err
	}
	if uint64(len(data)) >= math.MaxUint32 {
		return fmt.Errorf("archive entry %q of %d bytes; 4 GiB are the most", name, len(data))
	}
	const localHeader, extraHeader = 30, 4
	header := &zip.FileHeader{Name: "archive/" + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data),
		CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))}
	start := a.counter.n + localHeader + int64(len(header.Name)) + extraHeader
	padding := int(-start & (alignment - 1))
	header.Extra = make([]byte, extraHeader+padding)
	copy(header.Extra, "FB")
	binary.LittleEndian.PutUint16(header.Extra[2:], uint16(padding))
	for i := range padding {
		header.Extra[extraHeader+i] = 'Z'
	}
	entry, err := a.zip.CreateRaw(header)
	if err != nil {
		return err
	}
	if _, err := entry.Write(data); err != nil {
		return err
	}
	fmt.Fprintf(a.digest, "%s %d %08x\n", name, len(data), header.CRC32)
	return nil
}
