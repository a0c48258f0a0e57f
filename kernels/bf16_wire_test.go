package kernels

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// Values on the wire have the bits of RoundBF16, of any length and kind: ties, subnormals, infinities and NaN too.
func TestWireBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	special := []uint32{0, 0x80000000, 1, 0x7fff, 0x8000, 0x8001, 0x3f808000, 0x3f818000, 0x3f807fff, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xffbfffff, 0x7fc00000, 0x00400000}
	for n := range 70 {
		src, want := make([]float32, n), []byte{}
		for i := range src {
			bits := r.Uint32()
			if i%3 == 0 {
				bits = special[r.IntN(len(special))]
			}
			src[i] = math.Float32frombits(bits)
			want = binary.LittleEndian.AppendUint16(want, uint16(math.Float32bits(RoundBF16(src[i]))>>16))
		}
		got := bytes.Repeat([]byte{0xa5}, 2*n+2)
		EncodeBF16(got, src)
		if !bytes.Equal(got[:2*n], want) || !bytes.Equal(got[2*n:], []byte{0xa5, 0xa5}) {
			t.Fatalf("%d values %x become %x, want %x", n, src, got, want)
		}
		back := make([]float32, n+1)
		DecodeBF16(back[:n], want)
		for i, v := range back[:n] {
			if bits := uint32(binary.LittleEndian.Uint16(want[2*i:])) << 16; math.Float32bits(v) != bits {
				t.Fatalf("value %d of %d is %x, want %x", i, n, math.Float32bits(v), bits)
			}
		}
		if back[n] != 0 {
			t.Fatalf("%d values: another is written", n)
		}
	}
}

func BenchmarkWireBF16(b *testing.B) {
	values, wire := make([]float32, 1<<17), make([]byte, 1<<18)
	b.SetBytes(4 << 17)
	for range b.N {
		EncodeBF16(wire, values)
		DecodeBF16(values, wire)
	}
}
