package data

import (
	"bytes"
	"io"
	"os"
)

// alphaDecoder is the decoder that ffmpeg must be told to use for a film with alpha whose
// default decoder drops it: VP8 and VP9 in WebM or Matroska. It is "" for other films.
//
// Why it is looked for in the bytes: ffmpeg tells it in a form that is parsed by ffprobe
// only, which is not always installed.
func alphaDecoder(path, kind string, off int64) string {
	if kind != ".webm" && kind != ".mkv" {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head, err := io.ReadAll(io.NewSectionReader(f, off, 1<<16))
	if err != nil {
		return ""
	}
	head, _, _ = bytes.Cut(head, []byte{0x1f, 0x43, 0xb6, 0x75}) // up to the first cluster of frames
	if !bytes.Contains(head, []byte{0x53, 0xc0, 0x81, 1}) {      // AlphaMode, one byte: 1
		return ""
	}
	switch {
	case bytes.Contains(head, []byte("V_VP9")):
		return "libvpx-vp9"
	case bytes.Contains(head, []byte("V_VP8")):
		return "libvpx"
	}
	return ""
}
