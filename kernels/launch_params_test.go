package kernels_test

import (
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

var (
	kernelDecl  = regexp.MustCompile(`__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?([\w#]+)\(([^{;]*?)\)\s*\{`)
	structDecl  = regexp.MustCompile(`(?s)struct (\w+) \{(.*?)\}`)
	comment     = regexp.MustCompile(`//[^\n]*|/\*.*?\*/`)
	macroNumber = regexp.MustCompile(`##[A-Z](?:##|$)`)
	macroSuffix = regexp.MustCompile(`(##)?(suffix|SUFFIX)`)
	arrayDecl   = regexp.MustCompile(`\[\w+\]`)
)

// cudaKernel is a kernel as a .cu file declares it. Its parameters are a kind and a name each.
type cudaKernel struct {
	text, prefix string // its name, and the part before what a macro appends
	name         *regexp.Regexp
	params       []string
}

// cudaKernels reads the declarations of all sources. Structs are replaced by their fields.
func cudaKernels(t *testing.T) (all []cudaKernel) {
	t.Helper()
	structs := map[string]map[string]string{} // of each file
	sources := map[string]string{}
	for _, pattern := range []string{"*.cuh", "*.cu"} {
		files, err := fs.Glob(kernels.Source, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := fs.ReadFile(kernels.Source, f)
			if err != nil {
				t.Fatal(err)
			}
			source := comment.ReplaceAllString(strings.ReplaceAll(string(text), "\\\n", " "), "")
			structs[f] = map[string]string{}
			for _, m := range structDecl.FindAllStringSubmatch(source, -1) {
				structs[f][m[1]] = m[2]
			}
			sources[f] = source
		}
	}
	for _, f := range slices.Sorted(maps.Keys(sources)) {
		// A struct is that of the file, else that of its header, else that of another header.
		known := map[string]string{}
		for other := range structs {
			if strings.HasSuffix(other, ".cuh") {
				maps.Copy(known, structs[other])
			}
		}
		maps.Copy(known, structs[strings.TrimSuffix(f, ".cu")+".cuh"])
		maps.Copy(known, structs[f])
		for _, m := range kernelDecl.FindAllStringSubmatch(sources[f], -1) {
			prefix, _, _ := strings.Cut(m[1], "##")
			name := macroNumber.ReplaceAllString(m[1], `\d+`) // of the form NAME_##N##SUFFIX
			k := cudaKernel{text: m[1], prefix: prefix, name: regexp.MustCompile("^" + macroSuffix.ReplaceAllString(name, `(_\w+)?`) + "$")}
			for _, p := range strings.Split(m[2], ",") {
				k.params = append(k.params, cudaParams(t, known, p)...)
			}
			all = append(all, k)
		}
	}
	return all
}

// cudaParams is one parameter or field, or the fields of its struct: "map x", "pointer y",
// "float eps", "int n".
func cudaParams(t *testing.T, structs map[string]string, declared string) (params []string) {
	t.Helper()
	p := strings.TrimSpace(arrayDecl.ReplaceAllString(declared, ""))
	i := max(strings.LastIndex(p, " "), strings.LastIndex(p, "*"))
	kind, name := strings.TrimSpace(p[:i+1]), strings.ToLower(strings.ReplaceAll(p[i+1:], "_", ""))
	kind = strings.TrimPrefix(strings.TrimPrefix(kind, "const "), "hopper::")
	kind, _, _ = strings.Cut(kind, "<")
	switch {
	case strings.HasSuffix(kind, "*"):
		return []string{"pointer " + name}
	case strings.HasSuffix(kind, "TensorMap"):
		return []string{"map " + name}
	case kind == "float":
		return []string{"float " + name}
	case kind == "int" || kind == "unsigned":
		return []string{"int " + name}
	}
	body, ok := structs[kind]
	if !ok {
		t.Fatalf("parameter %q is of an unknown type %q", declared, kind)
	}
	for _, line := range strings.Split(body, ";") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		typ, names, _ := strings.Cut(line, " ")
		for _, n := range strings.Split(names, ",") {
			params = append(params, cudaParams(t, structs, typ+" "+n)...)
		}
	}
	return params
}

// goParams are the same of a launch's arguments.
func goParams(t reflect.Type, name string) (params []string) {
	switch {
	case t == reflect.TypeFor[kernels.Operand]():
		return []string{"pointer " + name}
	case t == reflect.TypeFor[kernels.TensorMap]():
		return []string{"map " + name}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			params = append(params, goParams(t.Field(i).Type, strings.ToLower(t.Field(i).Name))...)
		}
		return params
	case t.Kind() == reflect.Float32:
		return []string{"float " + name}
	}
	return []string{"int " + name} // and arrays of them, by name
}

// The arguments of each launch have the order, kinds and, but for case and underscores,
// names of the parameters that the .cu file declares: a swapped pair is found. Each kernel of the sources is launched.
func TestArgsMatchSources(t *testing.T) {
	declared := cudaKernels(t)
	launched, checked := map[string]bool{}, map[string]bool{}
	for _, c := range slices.Concat(kerneltest.Cases(), kerneltest.Wide(), kerneltest.Bench()) {
		for _, arch := range []string{"sm_80", "sm_90"} {
			for _, s := range []kernels.Spec{c.Spec, kernels.StoreAllBF16(c.Spec)} {
				precision := kernels.BF16
				if _, stored := kernels.Plain(s); !stored && arch == "sm_80" {
					precision = kernels.F32
				}
				p, err := kernels.LaunchesOf(s, precision, arch)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range p.List {
					typ := reflect.TypeOf(l.Args)
					if checked[l.Kernel+typ.Name()] {
						continue
					}
					checked[l.Kernel+typ.Name()] = true
					best := -1
					for i, k := range declared {
						if k.name.MatchString(l.Kernel) && (best < 0 || len(k.prefix) > len(declared[best].prefix)) {
							best = i
						}
					}
					if best < 0 {
						t.Errorf("no source declares %s", l.Kernel)
						continue
					}
					launched[declared[best].text] = true
					if got := goParams(typ, ""); !slices.Equal(got, declared[best].params) {
						t.Errorf("%s: %v has\n%q, the source declares\n%q", l.Kernel, typ, got, declared[best].params)
					}
				}
			}
		}
	}
	for _, k := range declared {
		if !launched[k.text] {
			t.Errorf("no case launches %s", k.text)
		}
	}
}
