package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"magvit/trainer/config"

	"go.yaml.in/yaml/v4"
)

var update = flag.Bool("update", false, "rewrite the tables of keys and licences")

// comments maps "package.Type.Field" to the comment of the field, in the files that
// declare configurations.
func comments(t *testing.T, files ...string) map[string]string {
	found := map[string]string{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						found[f.Name.Name+"."+spec.Name.Name+"."+name.Name] = strings.TrimSpace(field.Comment.Text())
					}
				}
			}
			return true
		})
	}
	return found
}

// keys lists every key of a configuration as a row of a Markdown table.
func keys(t *testing.T, rows *[]string, path string, def, demo reflect.Value, doc map[string]string) {
	for i := range def.NumField() {
		f := def.Type().Field(i)
		key := strings.Split(f.Tag.Get("yaml"), ",")[0]
		if key == "" {
			t.Errorf("%s.%s has no yaml key", def.Type(), f.Name)
		}
		if path != "" {
			key = path + "." + key
		}
		text := doc[def.Type().String()+"."+f.Name]
		if f.Type.Kind() == reflect.Struct {
			keys(t, rows, key, def.Field(i), demo.Field(i), doc)
			continue
		}
		if text == "" {
			t.Errorf("%s.%s says nothing about itself", def.Type(), f.Name)
		}
		*rows = append(*rows, fmt.Sprintf("| `%s` | %s | %s | %s |", key, short(t, def.Field(i)), short(t, demo.Field(i)), strings.ReplaceAll(text, "|", "\\|")))
	}
}

// short is a value as YAML on one line.
func short(t *testing.T, v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Len() > 4 {
		return "see the preset"
	}
	b, err := yaml.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(l), "- ")
	}
	return strings.Join(lines, ", ")
}

//go:generate go test -run TestReadmeListsEveryKey|TestLicences . -update

// TestReadmeListsEveryKey holds the table in trainer/README.md to the configuration: every
// key, its default, its value in preset demo, its meaning.
// go test ./cmd/magvit -run TestReadmeListsEveryKey -update rewrites it.
func TestReadmeListsEveryKey(t *testing.T) {
	const readme, begin, end = "../../trainer/README.md", "<!-- keys -->\n", "<!-- end of keys -->\n"
	demo, err := config.Preset("demo")
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{"| key | default | demo | meaning |", "|---|---|---|---|"}
	keys(t, &rows, "", reflect.ValueOf(config.Defaults()), reflect.ValueOf(demo),
		comments(t, "../../model/config.go", "../../model/published.go", "../../model/classify.go", "../../model/classify_path.go", "../../model/classify_codes.go", "../../model/discriminator.go", "../../model/prior.go", "../../trainer/data/config.go", "../../trainer/config/config.go"))
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q … %q", readme, begin, end)
	}
	want := strings.Join(rows, "\n") + "\n"
	if table == want {
		return
	}
	if !*update {
		t.Errorf("the table of keys differs from the configuration; run go test ./cmd/magvit -run %s -update", t.Name())
		return
	}
	if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o666); err != nil {
		t.Fatal(err)
	}
}
