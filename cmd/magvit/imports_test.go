package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trainerOrder lists the packages of trainer: each imports only those before it.
var trainerOrder = []string{"trainer/ranks", "trainer/usage", "trainer/ranks/mpi", "trainer/version", "trainer/atomicfile", "trainer/events", "trainer/torchfile", "trainer/pretrained",
	"trainer/metrics", "trainer/data", "trainer/trainertest", "trainer/quality", "trainer/videocodec", "trainer/codes", "trainer/config", "trainer/probe/nn", "trainer/probe", "trainer/report",
	"trainer/checkpoint", "trainer/rundir", "trainer/lucidrains", "trainer/published", "trainer/task", "trainer"}

// TestImportLaw checks what each folder may import, and what the top level may hold.
func TestImportLaw(t *testing.T) {
	const root = "../.."
	outside := func(path string) bool { return strings.Contains(strings.SplitN(path, "/", 2)[0], ".") }
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || rel == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, test := filepath.ToSlash(filepath.Dir(rel)), strings.HasSuffix(rel, "_test.go")
		for _, im := range f.Imports {
			p := strings.Trim(im.Path.Value, `"`)
			if !test && strings.HasPrefix(dir, "trainer") && strings.HasPrefix(p, "magvit/trainer") {
				own, other := slices.Index(trainerOrder, dir), slices.Index(trainerOrder, strings.TrimPrefix(p, "magvit/"))
				if own < 0 || other < 0 || other >= own {
					t.Errorf("%s imports %s: want a package before its own in trainerOrder", rel, p)
				}
			}
			switch {
			case (dir == "kernels" || dir == "kernels/nvcc") && outside(p) && !test && p != "golang.org/x/sys/cpu":
				t.Errorf("%s imports %s: kernels imports the standard library and golang.org/x/sys/cpu only", rel, p)
			case (p == "gorgonia.org/gorgonia" || p == "gorgonia.org/tensor") && !strings.HasPrefix(dir+"/", "model/"):
				t.Errorf("%s imports %s: the graph belongs to model", rel, p)
			case strings.HasPrefix(p, "gorgonia.org/cu") && dir != "gpu":
				t.Errorf("%s imports %s: the driver belongs to gpu", rel, p)
			case p == "magvit/gpu" && dir != "cmd/magvit" && dir != "gpu" && rel != "model/golden_emul_test.go": // golden values, with the kernels emulated
				t.Errorf("%s imports %s: only cmd/magvit knows which device was chosen", rel, p)
			case dir == "gpu" && !test && (strings.HasPrefix(p, "magvit/model") || strings.HasPrefix(p, "magvit/trainer")):
				t.Errorf("%s imports %s: gpu knows kernels, and no graph", rel, p)
			case strings.HasPrefix(p, "magvit/trainer") && strings.HasPrefix(dir+"/", "model/"),
				(strings.HasPrefix(p, "magvit/model") || strings.HasPrefix(p, "magvit/trainer")) && strings.HasPrefix(dir+"/", "kernels/"):
				t.Errorf("%s imports %s: data goes one way, kernels ← model ← trainer ← cmd", rel, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	legal := map[string]bool{"cmd": true, "kernels": true, "gpu": true, "model": true, "trainer": true, "testdata": true, "findings": true,
		"go.mod": true, "go.sum": true, "Makefile": true, "README.md": true, "LICENSE": true, "bin": true, "runs": true}
	for _, e := range entries {
		if !legal[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}
