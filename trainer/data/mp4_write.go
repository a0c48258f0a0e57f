package data

import (
	"bytes"
	"encoding/binary"
	"io"
)

// mp4Box is a box of an MP4 file with the given contents.
func mp4Box(kind string, contents ...[]byte) []byte {
	b := append(make([]byte, 4, 8), kind...)
	for _, c := range contents {
		b = append(b, c...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// numbers are big-endian numbers of 32 bits.
func numbers(n ...uint32) []byte {
	b := make([]byte, 0, 4*len(n))
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// header is an MP4 file of some samples, up to the first of them: their bytes, total in number,
// follow without gaps. The descriptions of the track are those of f; there is no edit list.
func (f *mp4Film) header(samples []int, total int64) io.Reader {
	sizes, keys := numbers(0, 0, uint32(len(samples))), []byte(nil)
	var durations, shifts runs
	for k, i := range samples {
		sizes = append(sizes, numbers(f.size[i])...)
		if f.isKey(i) {
			keys = append(keys, numbers(uint32(k+1))...)
		}
		next := int64(1)
		if k+1 < len(samples) {
			next = f.dts[samples[k+1]] - f.dts[i]
		}
		durations.add(uint32(next))
		shifts.add(uint32(int32(f.pts[i] - f.dts[i])))
	}
	version1 := numbers(1 << 24)
	stbl := func(start uint32) []byte {
		return mp4Box("stbl", f.stsd,
			mp4Box("stts", numbers(0), durations.entries()),
			mp4Box("ctts", version1, shifts.entries()),
			mp4Box("stss", numbers(0, uint32(len(keys)/4)), keys),
			mp4Box("stsc", numbers(0, 1, 1, uint32(len(samples)), 1)),
			mp4Box("stsz", sizes),
			mp4Box("stco", numbers(0, 1, start)))
	}
	file := func(start uint32) []byte {
		minf := mp4Box("minf", mp4Box("vmhd", numbers(1, 0, 0)), f.dinf, stbl(start))
		moov := mp4Box("moov", f.mvhd, mp4Box("trak", f.tkhd, mp4Box("mdia", f.mdhd, f.hdlr, minf)))
		ftyp := mp4Box("ftyp", []byte("isom"), numbers(512), []byte("isomavc1"))
		mdat := append(numbers(uint32(8+total)), "mdat"...)
		return bytes.Join([][]byte{ftyp, moov, mdat}, nil)
	}
	return bytes.NewReader(file(uint32(len(file(0)))))
}

// runs are numbers of which equal neighbours are counted.
type runs []uint32

func (r *runs) add(v uint32) {
	if n := len(*r); n > 0 && (*r)[n-1] == v {
		(*r)[n-2]++
		return
	}
	*r = append(*r, 1, v)
}

// entries are the pairs of a count and a number, after the number of pairs.
func (r runs) entries() []byte { return append(numbers(uint32(len(r)/2)), numbers(r...)...) }
