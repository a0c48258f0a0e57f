// Package events turns numbers and pictures into a TensorBoard event file.
//
// The file is a sequence of records: the length of the data as uint64, its
// checksum, the data, their checksum, all little-endian. The data is an Event
// message of TensorFlow's event.proto and summary.proto. A checksum is CRC-32C
// rotated right by 15 bits plus a constant, as in TensorFlow's crc32c.h.
//
// Why not a library: no Go library writes these files, and only two dozen fields of a
// handful of messages are used.
package events

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of event.proto and summary.proto.
const (
	eventWallTime, eventStep, eventVersion, eventSummary  = 1, 2, 3, 5
	summaryValue                                          = 1
	valueTag, valueSimple, valueImage, valueHistogram     = 1, 2, 4, 5
	imageHeight, imageWidth, imageColorspace, imageString = 1, 2, 3, 4
)

const (
	rgb        = 3 // colorspace of summary.proto
	version    = "brain.Event:2"
	prefix     = "events.out.tfevents."
	host       = "magvit"
	maxMessage = 1 << 28 // bytes; longer ones count as damage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// Writer appends to one event file. It is not safe for concurrent use.
type Writer struct {
	// At is the wall time of the records that follow.
	At time.Time

	file            *os.File
	buf             *bufio.Writer
	hyperparameters bool // the file has them
}

// Open continues the event file of a run directory, or begins one that is named
// after `at`. Records of steps after `step`, and whatever follows a damaged
// record, are cut off, so that a run resumed from a checkpoint repeats nothing.
func Open(dir string, at time.Time, step int) (*Writer, error) {
	old, err := filepath.Glob(filepath.Join(escape(dir), prefix+"*."+host))
	if err != nil {
		return nil, fmt.Errorf("event file: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%010d.%s", prefix, at.Unix(), host))
	if len(old) > 0 {
		path = slices.Max(old)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("event file: %w", err)
	}
	end, hyperparameters, err := validPrefix(f, step)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("event file %s: %w", path, errors.Join(err, f.Close()))
	}
	w := &Writer{At: at, file: f, buf: bufio.NewWriter(f), hyperparameters: hyperparameters}
	if end == 0 {
		return w, w.record(protowire.AppendString(protowire.AppendTag(w.event(), eventVersion, protowire.BytesType), version))
	}
	return w, nil
}

// escape quotes a directory's name for filepath.Glob.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// validPrefix is the length of the records that stay: all before the first damaged one
// and before the first of a later step. hyperparameters reports whether they are among these.
func validPrefix(f io.Reader, step int) (end int64, hyperparameters bool, err error) {
	r := bufio.NewReader(f)
	for {
		var head [12]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return end, hyperparameters, partial(err)
		}
		n := binary.LittleEndian.Uint64(head[:8])
		if n > maxMessage || checksum(head[:8]) != binary.LittleEndian.Uint32(head[8:]) {
			return end, hyperparameters, nil
		}
		body := make([]byte, n+4)
		if _, err := io.ReadFull(r, body); err != nil {
			return end, hyperparameters, partial(err)
		}
		if checksum(body[:n]) != binary.LittleEndian.Uint32(body[n:]) || stepOf(body[:n]) > int64(step) {
			return end, hyperparameters, nil
		}
		end += int64(len(head) + len(body))
		hyperparameters = hyperparameters || bytes.Contains(body, []byte(hyperparametersTag))
	}
}

// partial drops the errors of a record that is cut off.
func partial(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// stepOf is the step of an event: 0 if it has none, MaxInt64 if it cannot be read.
func stepOf(event []byte) int64 {
	for len(event) > 0 {
		field, kind, n := protowire.ConsumeTag(event)
		if n < 0 {
			return math.MaxInt64
		}
		event = event[n:]
		if field == eventStep && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(event)
			if n < 0 {
				return math.MaxInt64
			}
			return int64(v)
		}
		if n = protowire.ConsumeFieldValue(field, kind, event); n < 0 {
			return math.MaxInt64
		}
		event = event[n:]
	}
	return 0
}

// Scalar records a number.
func (w *Writer) Scalar(step int, tag string, value float64) error {
	v := appendBytes(nil, valueTag, []byte(tag))
	v = protowire.AppendFixed32(protowire.AppendTag(v, valueSimple, protowire.Fixed32Type), math.Float32bits(float32(value)))
	return w.summary(step, v)
}

// Image records a picture of w x h pixels, encoded as PNG or GIF.
func (w *Writer) Image(step int, tag string, encoded []byte, width, height int) error {
	var m []byte
	for _, f := range []struct {
		field protowire.Number
		value int
	}{{imageHeight, height}, {imageWidth, width}, {imageColorspace, rgb}} {
		m = protowire.AppendVarint(protowire.AppendTag(m, f.field, protowire.VarintType), uint64(f.value))
	}
	m = appendBytes(m, imageString, encoded)
	return w.summary(step, appendBytes(appendBytes(nil, valueTag, []byte(tag)), valueImage, m))
}

// appendBytes appends a field of text, bytes or a message.
func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendDouble(b []byte, field protowire.Number, value float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(value))
}

// summary records one value.
func (w *Writer) summary(step int, value []byte) error {
	e := protowire.AppendVarint(protowire.AppendTag(w.event(), eventStep, protowire.VarintType), uint64(step))
	return w.record(appendBytes(e, eventSummary, appendBytes(nil, summaryValue, value)))
}

// event begins an event with its wall time.
func (w *Writer) event() []byte {
	seconds := float64(w.At.UnixNano()) / 1e9
	return appendDouble(nil, eventWallTime, seconds)
}

func (w *Writer) record(data []byte) error {
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	head = binary.LittleEndian.AppendUint32(head, checksum(head))
	for _, b := range [][]byte{head, data, binary.LittleEndian.AppendUint32(nil, checksum(data))} {
		if _, err := w.buf.Write(b); err != nil {
			return fmt.Errorf("event file %s: %w", w.file.Name(), err)
		}
	}
	return nil
}

// Flush hands the records to the operating system.
func (w *Writer) Flush() error {
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("event file %s: %w", w.file.Name(), err)
	}
	return nil
}

// Sync hands the records to the disk.
func (w *Writer) Sync() error {
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("event file %s: %w", w.file.Name(), err)
	}
	return nil
}

// Close flushes and closes.
func (w *Writer) Close() error {
	return errors.Join(w.Flush(), w.file.Close())
}
