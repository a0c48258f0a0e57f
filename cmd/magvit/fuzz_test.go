package main

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"magvit/trainer/data"
	"magvit/trainer/trainertest"
)

// member is an array as an .npz file holds it.
func member(f *testing.F, a data.Array) []byte {
	f.Helper()
	path := filepath.Join(f.TempDir(), "a.npz")
	if err := data.WriteArrays(path, a); err != nil {
		f.Fatal(err)
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	r, err := z.File[0].Open()
	if err != nil {
		f.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// FuzzDecode: whatever is next to the codes, decode writes clips or says why not.
func FuzzDecode(f *testing.F) {
	dir := f.TempDir()
	config, clips, checkpoint := filepath.Join(dir, "mini.yaml"), filepath.Join(dir, "clips.npz"), filepath.Join(dir, "run")
	if err := os.WriteFile(config, []byte(trainertest.Mini), 0o666); err != nil {
		f.Fatal(err)
	}
	for _, line := range []string{"synth --clips 8 --size 16 --frames 4 --out " + clips, "train --quiet --config " + config + " --steps 2 --data " + clips + " --out " + checkpoint} {
		if status := run(context.Background(), strings.Fields("magvit "+line), io.Discard, io.Discard); status != done {
			f.Fatalf("%s: exit %d", line, status)
		}
	}
	codes := member(f, data.Array{Name: "codes", Shape: []int{1, 2, 4, 4}, Data: make([]int32, 32)})
	f.Add(codes, "frames.npy", member(f, data.Array{Name: "frames", Shape: []int{1}, Data: []int32{3}}), "names.npy", member(f, data.Array{Name: "names", Shape: []int{1}, Data: []string{"../../x"}}))
	f.Add(codes, "labels.npy", member(f, data.Array{Name: "labels", Shape: []int{1}, Data: []int64{7}}), "classes.npy", member(f, data.Array{Name: "classes", Shape: []int{1}, Data: []string{"a"}}))
	f.Add(codes, "levels.npy", member(f, data.Array{Name: "levels", Shape: []int{3}, Data: []int32{8, 5, 5}}), "factors.npy", member(f, data.Array{Name: "factors", Shape: []int{2}, Data: []int32{1, 2}}))
	f.Add(codes, "frame_range.npy", member(f, data.Array{Name: "frame_range", Shape: []int{1, 2}, Data: []int32{0, 4}}), "fps.npy", member(f, data.Array{Name: "fps", Shape: []int{1}, Data: []float32{-1}}))
	f.Add(member(f, data.Array{Name: "codes", Shape: []int{0, 2, 4, 4}, Data: []int32{}}), "names.npy", member(f, data.Array{Name: "names", Shape: []int{0}, Data: []string{}}), "size.npy", member(f, data.Array{Name: "size", Shape: []int{2}, Data: []int32{16, 16}}))
	f.Fuzz(func(t *testing.T, codes []byte, name1 string, array1 []byte, name2 string, array2 []byte) {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, m := range []struct {
			name string
			raw  []byte
		}{{"codes.npy", codes}, {name1, array1}, {name2, array2}} {
			w, err := z.Create(m.name)
			if err == nil {
				_, err = w.Write(m.raw)
			}
			if err != nil {
				return
			}
		}
		z.Close()
		dir := t.TempDir()
		path, out := filepath.Join(dir, "codes.npz"), filepath.Join(dir, "out.npz")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var said strings.Builder
		status := run(ctx, []string{"magvit", "decode", "--checkpoint", checkpoint, "--codes", path, "--other-tokenizer", "--out", out}, io.Discard, &said)
		_, err := os.Stat(out)
		if (status == done) != (err == nil) || status == interrupted || status != done && said.Len() == 0 {
			t.Errorf("exit %d, %v: %s", status, err, said.String())
		}
	})
}

// FuzzCommandLine: no command line panics.
func FuzzCommandLine(f *testing.F) {
	f.Add("train", "--preset", "tiny", "--data", "missing")
	f.Add("inspect", "--json", "", "-", "--")
	f.Add("presets", "demo", "--x", "=", "--=")
	f.Add("report", ".", "", "", "")
	f.Add("decode", "--codes", "missing", "--out", "x.gif")
	f.Add("help", "bench", "step", "-h", "--version")
	commands := newApp(io.Discard, io.Discard).Commands
	f.Fuzz(func(t *testing.T, name, b, c, d, e string) {
		t.Chdir(t.TempDir())
		known := named(commands, name)
		if known == nil || name == "synth" || name == "bench" || name == "doctor" { // they need no files, and compute
			name = "inspect"
		}
		for _, x := range []string{b, c, d, e} {
			if strings.ContainsAny(x, "/*?[") { // stay in this folder
				return
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var said strings.Builder
		if status := run(ctx, []string{"magvit", name, b, c, d, e}, io.Discard, &said); status != done && said.Len() == 0 {
			t.Errorf("exit %d without a word", status)
		}
	})
}
