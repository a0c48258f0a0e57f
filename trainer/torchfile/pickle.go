package torchfile

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxInteger bounds the bytes of an integer. Those of more than 8 are Opaque.
const maxInteger = 64

// Limits bounds what reading a file may cost, however absurd the file. A zero field means its default.
type Limits struct {
	Pickle   int // bytes of a pickle; default 64 MiB (the reference's files take about 250 bytes for each tensor)
	Values   int // values a pickle may make, stack and memo included; default 2 Mi, at about 100 bytes each
	Depth    int // how deep values may be nested; default 200
	Expanded int // values after shared ones are unfolded; default 16 Mi
	Entries  int // entries of the archive; default 1 Mi
}

func (l Limits) withDefaults() Limits {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Pickle, 64<<20)
	set(&l.Values, 2<<20)
	set(&l.Depth, 200)
	set(&l.Expanded, 16<<20)
	set(&l.Entries, 1<<20)
	return l
}

// machine runs a pickle of protocols 2 to 5. It knows the opcodes of plain values and those that torch.save writes; whatever
// would look up or call something becomes data (see globals.go).
type machine struct {
	limits  Limits
	storage func(name string, dtype Dtype, elements int) (*storage, error) // nil: the pickle may hold no tensors
	data    []byte
	at      int

	stack   []any
	marks   []int // heights of the stack
	memo    map[uint32]any
	values  int
	decoded int // bytes made by _codecs.encode
	foreign map[string]bool
}

// unpickle returns the tree that a pickle describes and the names of the globals in it that this package does not know.
func unpickle(data []byte, limits Limits, storage func(string, Dtype, int) (*storage, error)) (root any, foreign []string, err error) {
	limits = limits.withDefaults()
	if len(data) > limits.Pickle {
		return nil, nil, fmt.Errorf("pickle of %d bytes; %d are the most", len(data), limits.Pickle)
	}
	root, foreign, n, err := unpickleFirst(data, limits, storage)
	if err == nil && n != len(data) {
		err = fmt.Errorf("pickle ends at byte %d of %d", n, len(data))
	}
	return root, foreign, err
}

// unpickleFirst is unpickle of the pickle that data begins with, and its length.
func unpickleFirst(data []byte, limits Limits, storage func(string, Dtype, int) (*storage, error)) (root any, foreign []string, n int, err error) {
	m := &machine{limits: limits, storage: storage, data: data, memo: map[uint32]any{}, foreign: map[string]bool{}}
	for done := false; !done; {
		at := m.at
		if done, err = m.step(); err != nil {
			return nil, m.foreignNames(), m.at, fmt.Errorf("pickle at byte %d: %w", at, err)
		}
	}
	if err := checkTree(m.stack[0], limits); err != nil {
		return nil, m.foreignNames(), m.at, fmt.Errorf("pickle: %w", err)
	}
	return m.stack[0], m.foreignNames(), m.at, nil
}

// consume reads n bytes of the input; n may be anything a file can claim.
func (m *machine) consume(n uint64) ([]byte, error) {
	if left := len(m.data) - m.at; n > uint64(left) {
		return nil, fmt.Errorf("%d bytes announced, %d left", n, left)
	}
	b := m.data[m.at : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// number reads a little endian integer of 1 to 8 bytes without sign.
func (m *machine) number(bytes int) (uint64, error) {
	b, err := m.consume(uint64(bytes))
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// counted reads a length of the given width and as many bytes.
func (m *machine) counted(width int) ([]byte, error) {
	n, err := m.number(width)
	if err != nil {
		return nil, err
	}
	return m.consume(n)
}

// grow counts n values against the limit.
func (m *machine) grow(n int) error {
	if m.values += n; m.values > m.limits.Values {
		return fmt.Errorf("more than %d values", m.limits.Values)
	}
	return nil
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return m.grow(1)
}

// pop takes the last n values off the stack, none of them below the last mark.
func (m *machine) pop(n int) ([]any, error) {
	base := 0
	if len(m.marks) > 0 {
		base = m.marks[len(m.marks)-1]
	}
	if len(m.stack)-n < base {
		return nil, fmt.Errorf("%d values wanted, %d on the stack", n, len(m.stack)-base)
	}
	popped := m.stack[len(m.stack)-n:]
	m.stack = m.stack[:len(m.stack)-n]
	return popped, nil
}

// popMark takes everything above the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, fmt.Errorf("no mark on the stack")
	}
	base := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	popped := m.stack[base:]
	m.stack = m.stack[:base]
	return popped, nil
}

func (m *machine) top() (any, error) {
	v, err := m.pop(1)
	if err != nil {
		return nil, err
	}
	m.stack = m.stack[:len(m.stack)+1]
	return v[0], nil
}

// refused names opcodes of Python's pickle that torch.save never writes.
var refused = map[byte]string{
	'i': "INST", 'o': "OBJ", 'P': "PERSID", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
	'I': "INT", 'L': "LONG", 'F': "FLOAT", 'S': "STRING", 'V': "UNICODE", 'p': "PUT", 'g': "GET",
}

// step runs one opcode; done after STOP. The first opcode must be PROTO.
func (m *machine) step() (done bool, err error) {
	op, err := m.number(1)
	if err != nil {
		return false, fmt.Errorf("the pickle ends before STOP")
	}
	if m.at == 1 && op != 0x80 {
		return false, fmt.Errorf("starts with byte %#02x, not with PROTO (0x80): not a pickle of protocol 2 to 5", op)
	}
	switch op {
	case '.': // STOP
		if len(m.stack) != 1 || len(m.marks) != 0 {
			return false, fmt.Errorf("STOP with %d values and %d marks on the stack; want 1 and 0", len(m.stack), len(m.marks))
		}
		return true, nil
	case 0x80: // PROTO
		protocol, err := m.number(1)
		if err == nil && (protocol < 2 || protocol > 5) {
			err = fmt.Errorf("protocol %d; 2 to 5 are known", protocol)
		}
		return false, err
	case 0x95: // FRAME
		n, err := m.number(8)
		if left := len(m.data) - m.at; err == nil && n > uint64(left) {
			err = fmt.Errorf("frame of %d bytes, %d left", n, left)
		}
		return false, err
	case '(': // MARK
		if len(m.marks) >= 4*m.limits.Depth {
			return false, fmt.Errorf("more than %d marks", 4*m.limits.Depth)
		}
		m.marks = append(m.marks, len(m.stack))
		return false, nil
	case '0': // POP
		if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) {
			m.marks = m.marks[:n-1]
			return false, nil
		}
		_, err := m.pop(1)
		return false, err
	case '1': // POP_MARK
		_, err := m.popMark()
		return false, err
	case '2': // DUP
		v, err := m.top()
		if err != nil {
			return false, err
		}
		return false, m.push(v)
	case 'q', 'r', 0x94, 'h', 'j': // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
		return false, m.remember(byte(op))
	case 'c', 0x93, 'R', 0x81, 0x92, 'b', 'Q': // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD, BINPERSID
		return false, m.object(byte(op))
	}
	if v, known, err := m.scalar(byte(op)); known {
		if err != nil {
			return false, err
		}
		return false, m.push(v)
	}
	if known, err := m.container(byte(op)); known {
		return false, err
	}
	if name, ok := refused[byte(op)]; ok {
		return false, fmt.Errorf("opcode %s: torch.save does not write it", name)
	}
	return false, fmt.Errorf("opcode %#02x is not known", op)
}

// remember moves values between stack and memo.
func (m *machine) remember(op byte) error {
	width := 0
	switch op {
	case 'q', 'h':
		width = 1
	case 'r', 'j':
		width = 4
	}
	index, err := m.number(width)
	if err != nil {
		return err
	}
	switch op {
	case 'h', 'j':
		v, ok := m.memo[uint32(index)]
		if !ok {
			return fmt.Errorf("memo %d is empty", index)
		}
		return m.push(v)
	case 0x94:
		index = uint64(len(m.memo))
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo[uint32(index)] = v
	return m.grow(1)
}

// scalar reads a value that holds no others.
func (m *machine) scalar(op byte) (v any, known bool, err error) {
	text := func(width int) (any, bool, error) {
		b, err := m.counted(width)
		if err == nil && !utf8.Valid(b) {
			err = fmt.Errorf("a text is not UTF-8")
		}
		return string(b), true, err
	}
	bytes := func(width int) (any, bool, error) {
		b, err := m.counted(width)
		return append([]byte{}, b...), true, err
	}
	integer := func(n uint64, err error) (any, bool, error) { return int64(n), true, err }
	switch op {
	case 'N':
		return nil, true, nil
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		return op == 0x88, true, nil
	case 'K': // BININT1
		return integer(m.number(1))
	case 'M': // BININT2
		return integer(m.number(2))
	case 'J': // BININT
		n, err := m.number(4)
		return int64(int32(n)), true, err
	case 0x8a, 0x8b: // LONG1, LONG4: two's complement
		width := 1
		if op == 0x8b {
			width = 4
		}
		b, err := m.counted(width)
		if err != nil {
			return nil, true, err
		}
		if len(b) > maxInteger {
			return nil, true, fmt.Errorf("an integer of %d bytes; %d are the most", len(b), maxInteger)
		}
		if len(b) > 8 { // as in the state of a generator of random numbers
			return &Opaque{Module: "builtins", Name: "int", Called: true, Args: Tuple{slices.Clone(b)}}, true, nil
		}
		var wide [8]byte
		copy(wide[:], b)
		n := int64(binary.LittleEndian.Uint64(wide[:]))
		shift := 64 - 8*len(b)
		return n << shift >> shift, true, nil
	case 'G': // BINFLOAT, big endian
		b, err := m.consume(8)
		if err != nil {
			return nil, true, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), true, nil
	case 0x8c, 'U': // SHORT_BINUNICODE, and SHORT_BINSTRING, a str of Python 2
		return text(1)
	case 'X', 'T': // BINUNICODE, BINSTRING
		return text(4)
	case 0x8d: // BINUNICODE8
		return text(8)
	case 'C': // SHORT_BINBYTES
		return bytes(1)
	case 'B': // BINBYTES
		return bytes(4)
	case 0x8e, 0x96: // BINBYTES8, BYTEARRAY8
		return bytes(8)
	}
	return nil, false, nil
}

// container makes and fills tuples, lists, sets and dicts.
func (m *machine) container(op byte) (known bool, err error) {
	var items []any
	switch op {
	case ')', ']', '}', 0x8f: // EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT, EMPTY_SET
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		items, err = m.pop(int(op - 0x84))
	case 'a': // APPEND
		items, err = m.pop(1)
	case 's': // SETITEM
		items, err = m.pop(2)
	case 't', 'l', 'd', 0x91, 'e', 'u', 0x90: // TUPLE, LIST, DICT, FROZENSET, APPENDS, SETITEMS, ADDITEMS
		items, err = m.popMark()
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if err := m.grow(len(items)); err != nil {
		return true, err
	}
	// The values popped stay in the stack's capacity until the next push.
	switch op {
	case ')', 't', 0x85, 0x86, 0x87:
		return true, m.push(Tuple(append([]any{}, items...)))
	case ']', 'l':
		return true, m.push(&List{append([]any(nil), items...)})
	case 0x8f, 0x91:
		return true, m.push(&Set{append([]any(nil), items...)})
	case '}', 'd':
		d := NewDict()
		if err := fill(d, items); err != nil {
			return true, err
		}
		return true, m.push(d)
	}
	target, err := m.top()
	if err != nil {
		return true, err
	}
	switch t := target.(type) {
	case *List:
		if op == 'a' || op == 'e' {
			t.Items = append(t.Items, items...)
			return true, nil
		}
	case *Set:
		if op == 0x90 {
			t.Items = append(t.Items, items...)
			return true, nil
		}
	case *Dict:
		if op == 's' || op == 'u' {
			return true, fill(t, items)
		}
	case *Opaque:
		t.Items = append(t.Items, items...)
		return true, nil
	}
	return true, fmt.Errorf("opcode %q fills %s", op, kind(target))
}

// fill adds keys and values in turn to a dict; a key that is there is refused.
func fill(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return fmt.Errorf("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		key := items[i]
		switch key.(type) {
		case *List, *Set, *Dict, *Tensor, *storage:
			return fmt.Errorf("%s as a key", kind(key))
		}
		if d.find(key) >= 0 {
			return fmt.Errorf("key %.100q is given twice", fmt.Sprint(key))
		}
		d.Set(key, items[i+1])
	}
	return nil
}

// readLine reads up to a newline; Python's names are short.
func (m *machine) readLine() (string, error) {
	const most = 256
	b := m.data[m.at:min(len(m.data), m.at+most)]
	text, _, found := strings.Cut(string(b), "\n")
	if !found {
		return "", fmt.Errorf("no newline within %d bytes", len(b))
	}
	m.at += len(text) + 1
	return text, nil
}
