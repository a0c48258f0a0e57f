package codes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"magvit/trainer/atomicfile"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// index is the content of index.json.
type index struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Settings string `json:"settings"` // that the shards were made with
	Header
	Vectors string  `json:"vectors,omitempty"` // file of a learned codebook's vectors, [codebooks,codebook,dim]
	Clips   int     `json:"clips"`
	LeftOut int     `json:"left_out"` // clips that could not be read
	Shards  []shard `json:"shards"`
}

// shard is a file of codes in the index.
type shard struct {
	File   string `json:"file"`
	Clips  int    `json:"clips"`
	SHA256 string `json:"sha256"`
}

// sidecar is the .json file next to a shard, written after it: a shard without one is not whole.
type sidecar struct {
	Settings string   `json:"settings"`
	SHA256   string   `json:"sha256"` // of the shard; "": there is none, as no clip could be read
	Clips    Clips    `json:"clips"`
	LeftOut  []string `json:"left_out,omitempty"`
}

const vectorsName = "vectors.npy"

func sidecarName(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) + ".json" }

func readSidecar(file string) (m sidecar, err error) { return m, readJSON(sidecarName(file), &m) }

func readJSON(path string, to any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return usage.Wrap(err)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return usage.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, from any) error {
	raw, err := json.MarshalIndent(from, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, append(raw, '\n'))
}

func readIndex(dir string) (x index, err error) {
	path := filepath.Join(dir, IndexName)
	if err := readJSON(path, &x); err != nil {
		return x, err
	}
	switch {
	case x.Format != Format:
		return x, usage.Errorf("%s: format %q; want %q, as magvit encode writes it", path, x.Format, Format)
	case x.Version != Version:
		return x, usage.Errorf("%s: version %d; this program reads version %d", path, x.Version, Version)
	case x.PerClip() < 1:
		return x, usage.Errorf("%s: a grid of %v with %d codebooks: there are no codes", path, x.Grid, x.Codebooks)
	}
	return x, x.check(path)
}

// openFolder opens the shards that an index lists.
func openFolder(dir string) (*Set, error) {
	x, err := readIndex(dir)
	if errors.Is(err, os.ErrNotExist) && data.IsRun(dir) {
		return nil, usage.Errorf("%s: the directory of a training run, which holds no codes: magvit encode --checkpoint %s --data CLIPS --out codes.npz makes codes of clips", dir, dir)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, usage.Errorf("%s: no %s in it; magvit encode writes it after the last shard, and the same command again goes on; magvit train --tokenizer RUN makes codes of clips", dir, IndexName)
	}
	if err != nil {
		return nil, err
	}
	s := &Set{Header: x.Header, Path: dir, Clips: x.Clips}
	for _, sh := range x.Shards {
		s.shards = append(s.shards, func() (Block, error) { return readShard(dir, x.Header, sh) })
	}
	return s, nil
}

func readShard(dir string, h Header, sh shard) (b Block, err error) {
	if !filepath.IsLocal(sh.File) {
		return b, usage.Errorf("%s: %q is not a file in that folder", filepath.Join(dir, IndexName), sh.File)
	}
	path := filepath.Join(dir, sh.File)
	if filepath.Ext(path) == ".tar" {
		_, b, err = readTar(path, &h)
	} else {
		var m sidecar
		if m, err = readSidecar(path); err == nil {
			b, err = readNPY(path, &h, m.Clips)
		}
	}
	if err == nil && len(b.Codes) != sh.Clips*h.PerClip() {
		err = usage.Errorf("%s: %d codes, of %d clips; the index has %d clips", path, len(b.Codes), len(b.Codes)/h.PerClip(), sh.Clips)
	}
	if err != nil || sh.SHA256 == "" {
		return b, err
	}
	if found, err := hashOf(path); err != nil || found != sh.SHA256 {
		return b, cmp.Or(err, usage.Errorf("%s: damaged: its SHA-256 is %.12s, %s has %.12s; the command that wrote the folder makes it again", path, found, IndexName, sh.SHA256))
	}
	return b, nil
}

// hashOf is the SHA-256 of a file.
func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// content is the bytes of a shard of codes.
func (h *Header) content(format string, number int, b Block) ([]byte, error) {
	if format == "tar" {
		return h.tar(number, b)
	}
	return data.AppendNPY(nil, data.Array{Shape: append([]int{len(b.Names)}, h.Stored()...), Data: split(nil, b.Codes, h.Factors)}), nil
}
