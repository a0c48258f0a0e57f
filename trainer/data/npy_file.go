package data

import "io"

// ReadNPY reads an .npy file of at most 1 GiB: floats as []float32, whole numbers as []int64, text as []string. name is
// used in errors.
func ReadNPY(r io.Reader, name string) (Array, error) {
	h, err := readNpyHeader(r, name)
	if err != nil {
		return Array{}, err
	}
	if n := max(h.bytes, h.decodedBytes()); n > maxSmall {
		return Array{}, badf("%s: shape %v of %s, %d bytes in memory; legal: up to %d", name, h.shape, h.descr, n, maxSmall)
	}
	raw := make([]byte, h.bytes)
	if _, err := io.ReadFull(r, raw); err != nil {
		return Array{}, badf("%s: shape %v of %s needs %d bytes, there are fewer: it is cut off", name, h.shape, h.descr, h.bytes)
	}
	return Array{Name: name, Shape: h.shape, Data: h.decode(raw)}, nil
}

// AppendNPY appends the array as an .npy file, which numpy.load reads and maps.
func AppendNPY(b []byte, a Array) []byte {
	descr, raw := npyBytes(a.Data)
	return append(appendNpyHeader(b, descr, a.Shape), raw...)
}
