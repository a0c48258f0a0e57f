package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/urfave/cli/v2"
)

// binary is the program under test, built with buildFlags; shared is a folder of
// inputs made once.
var (
	binary, shared string
	buildFlags     []string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "magvit-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary, shared = filepath.Join(dir, "magvit"), filepath.Join(dir, "shared")
	out, err := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", binary, ".")...).CombinedOutput()
	if err = errors.Join(err, os.Mkdir(shared, 0o777)); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// program is a command line of magvit in a folder of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	return cmd
}

// finish runs a command and returns what it printed and its exit status.
func finish(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// magvit runs a command that must succeed and returns its stdout and stderr.
func magvit(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, status := finish(t, program(t, args...))
	if status != done {
		t.Fatalf("magvit %s: exit %d\n%s", strings.Join(args, " "), status, stderr)
	}
	return stdout, stderr
}

// clips is a set for preset tiny, made once.
func clips(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared, "new", "clips.npz")
	makeClips.Do(func() { magvit(t, "synth", "--clips", "24", "--size", "32", "--frames", "8", "--out", path) })
	return path
}

// trainedRun is a short run of preset tiny on clips, made once. Who changes it copies it.
func trainedRun(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared, "run")
	data := clips(t)
	makeRun.Do(func() {
		magvit(t, "train", "--preset", "tiny", "--data", data, "--out", path, "--steps", "6",
			"--set", "train.save_every=2", "--set", "train.log_every=1", "--set", "train.eval_every=3")
	})
	return path
}

var makeClips, makeRun sync.Once

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// every calls f with each command's line, "magvit bench step", and the command.
func every(f func(line string, c *cli.Command)) {
	var walk func(line string, commands []*cli.Command)
	walk = func(line string, commands []*cli.Command) {
		for _, c := range commands {
			f(line+" "+c.Name, c)
			walk(line+" "+c.Name, c.Subcommands)
		}
	}
	walk("magvit", newApp(io.Discard, io.Discard).Commands)
}

func TestEveryCommandHelps(t *testing.T) {
	every(func(line string, c *cli.Command) {
		words := strings.Fields(line)[1:]
		help, _ := magvit(t, append(words, "--help")...)
		again, _ := magvit(t, append([]string{"help"}, words...)...)
		if help != again {
			t.Errorf("magvit help %s differs from %s --help", strings.Join(words, " "), line)
		}
		examples := 0
		_, after, _ := strings.Cut(help, "Example:\n")
		for l := range strings.Lines(after) {
			if l = strings.TrimSpace(l); l == "" {
				break
			}
			if err := parses(l); err != nil {
				t.Errorf("example %q: %v", l, err)
			}
			if l == line || strings.HasPrefix(l, line+" ") {
				examples++
			}
		}
		if examples == 0 {
			t.Errorf("%s --help shows no example:\n%s", line, help)
		}
	})
	if help, _ := magvit(t, "--help"); !strings.Contains(help, "Example:") {
		t.Errorf("magvit --help shows no example:\n%s", help)
	}
}

// parses reports whether the commands and flags of a command line exist.
func parses(line string) error {
	words := strings.Fields(line)[1:]
	commands := newApp(io.Discard, io.Discard).Commands
	var c *cli.Command
	for len(words) > 0 {
		next := named(commands, words[0])
		if next == nil {
			break
		}
		c, words, commands = next, words[1:], next.Subcommands
	}
	if c == nil {
		if len(words) == 1 && (words[0] == "--help" || words[0] == "--version") {
			return nil
		}
		return fmt.Errorf("no command %q", words)
	}
	for _, w := range words {
		if !strings.HasPrefix(w, "-") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		known := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		if !known && name != "help" && name != "h" {
			return fmt.Errorf("%s has no flag %s", c.Name, w)
		}
	}
	return nil
}

// readmes lists the repository's README.md files.
func readmes(t *testing.T) []string {
	t.Helper()
	const root = "../.."
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "bin" || d.Name() == "runs"):
			return filepath.SkipDir
		case d.Name() == "README.md":
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestReadmeCommandsParse(t *testing.T) {
	for _, file := range readmes(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := commandLines(string(text))
		for _, line := range lines {
			if err := parses(line); err != nil {
				t.Errorf("%s: %q: %v", file, line, err)
			}
		}
		if len(lines) == 0 && file == "../../README.md" {
			t.Errorf("%s shows no command of magvit", file)
		}
	}
}

// TestReadmeLinksLead follows every relative link in a README.md, to a file and its heading.
func TestReadmeLinksLead(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^):]+)\)`)
	marks := regexp.MustCompile("[^a-z0-9 -]")
	for _, file := range readmes(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			path, heading, _ := strings.Cut(link[1], "#")
			target := filepath.Join(filepath.Dir(file), path)
			if path == "" {
				target = file
			}
			there, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if heading == "" || err != nil || there.IsDir() {
				continue
			}
			text, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for line := range strings.Lines(string(text)) {
				title, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
				anchor := strings.ReplaceAll(marks.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
				found = found || ok && line[0] == '#' && anchor == heading
			}
			if !found {
				t.Errorf("%s: %s has no heading %s", file, target, heading)
			}
		}
	}
}

// commandLines are the calls of magvit in the fenced code of a Markdown text.
func commandLines(text string) (found []string) {
	code := false
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "./"), "bin/")
		if code && strings.HasPrefix(line, "magvit ") {
			found = append(found, strings.TrimSpace(line[:strings.IndexAny(line+"#", "#|>&;")]))
		}
	}
	return found
}

func TestParsesFindsWhatIsWrong(t *testing.T) {
	for _, line := range []string{"magvit trian --data x", "magvit train --dat x", "magvit bench step --check"} {
		if parses(line) == nil {
			t.Errorf("%q is taken for a command line", line)
		}
	}
	text := "magvit is\n```sh\n$ bin/magvit train --out a # hi\nmagvit eval --checkpoint a \\\n--json | jq\nmagvit: no\n```\n"
	if got, want := commandLines(text), []string{"magvit train --out a", "magvit eval --checkpoint a  --json"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestArrange(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	for line, want := range map[string]string{
		"magvit codes a.npz --json":                    "magvit codes --json -- a.npz",
		"magvit compare a.npz --frames 3 b.npz":        "magvit compare --frames 3 -- a.npz b.npz",
		"magvit compare --frames=3 a.npz -- --json":    "magvit compare --frames=3 -- a.npz --json",
		"magvit inspect a --limit 3 b --data c d":      "magvit inspect --data a --limit 3 --data b --data c --data d",
		"magvit inspect --limit=3 a.npz -- --json":     "magvit inspect --limit=3 --data a.npz --data --json",
		"magvit encode --offload a --json b --out c":   "magvit encode --offload --data a --json --data b --out c",
		"magvit train a --val b c --out d e --val=f g": "magvit train --data a --val b --val c --out d --data e --val=f --val g",
		"magvit bench data clips":                      "magvit bench data --data clips",
		"magvit bench step --preset tiny":              "magvit bench step --preset tiny",
		"magvit help bench step":                       "magvit bench step --help",
		"magvit train --unknown x --out y":             "magvit train --unknown --data x --out y",
		"magvit":                                       "magvit",
		"magvit --version":                             "magvit --version",
		"magvit presets tiny":                          "magvit presets -- tiny",
		"magvit train --steps -1 --set train.lr=-1":    "magvit train --steps -1 --set train.lr=-1",
		"magvit decode --codes - --out x.npz trailing": "magvit decode --codes - --out x.npz -- trailing",
	} {
		if got := strings.Join(arrange(app, strings.Fields(line)), " "); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", line, got, want)
		}
	}
}

// printed is a command's stdout, which must be one JSON object.
func printed(t *testing.T, args ...string) map[string]any {
	t.Helper()
	out, _ := magvit(t, args...)
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("magvit %s: stdout is not JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
	return v
}

func TestSmallCommandsPrintJSON(t *testing.T) {
	for line, keys := range map[string][]string{
		"version --json": {"version", "go", "platform"},
		"doctor --json":  {"version", "cores", "instruction_set", "devices", "gpu_driver", "ffmpeg", "free_bytes", "advice"},
		"bench --check --filter ^FSQQuantize --json":           {"device", "failed", "kernels"},
		"bench --filter ^FSQQuantize --json":                   {"device", "failed", "kernels", "peak_gflops", "copy_gb_per_s"},
		"bench step --preset tiny --steps 2 --json":            {"preset", "device", "precision", "batch", "min_s", "median_s", "clips_per_s", "gflops", "peak_bytes"},
		"inspect " + clips(t) + " --json":                      {"clips", "shapes", "min", "max", "classes", "per_class"},
		"bench step --preset tiny --json --batch 1":            {"arena_bytes", "value_bytes"},
		"inspect --limit 2 " + clips(t) + " --json":            {"read"},
		"inspect --json " + clips(t) + " " + clips(t):          {"clips"},
		"inspect --json --data " + clips(t):                    {"clips"},
		"bench --json --filter=^Add.Len:7 --check":             {"kernels"},
		"bench step --preset tiny --json --frames 8 --explain": {"gflop", "cpu_s"},
	} {
		v := printed(t, strings.Fields(line)...)
		for _, k := range keys {
			if _, ok := v[k]; !ok {
				t.Errorf("magvit %s: no %q in %v", line, k, v)
			}
		}
	}
	if v := printed(t, "inspect", clips(t), "--json"); v["clips"] != 24. {
		t.Errorf("inspect finds %v clips, want 24", v["clips"])
	}
	if v := printed(t, "bench", "step", "--preset", "demo", "--batch", "1", "--frames", "8", "--size", "32", "--steps", "1", "--json"); v["size"] != 32. {
		t.Errorf("bench step --size 32: %v", v)
	}
	out, _ := magvit(t, "bench", "step", "--preset", "tiny", "--steps", "1", "--explain")
	for _, words := range []string{"nodes", "arena", "Conv", "clips/s"} {
		if !strings.Contains(out, words) {
			t.Errorf("bench step --explain does not tell %q:\n%s", words, out)
		}
	}
}

func TestPresetIsAConfiguration(t *testing.T) {
	list, _ := magvit(t, "presets")
	for _, name := range []string{"tiny", "demo", "demo-gan", "seed", "small", "i3d-small", "slowfast-small", "film-64", "film-64-gan", "film-128"} {
		if !strings.Contains(list, name+" ") {
			t.Errorf("presets does not list %s:\n%s", name, list)
		}
	}
	text, _ := magvit(t, "presets", "tiny")
	file := filepath.Join(t.TempDir(), "my.yaml")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "run")
	v := printed(t, "train", "--config", file, "--data", clips(t), "--out", out, "--steps", "2", "--json")
	if v["step"] != 2. || v["checkpoint"] != "step-000002" {
		t.Errorf("trained to %v, %v; want step 2", v["step"], v["checkpoint"])
	}
}
