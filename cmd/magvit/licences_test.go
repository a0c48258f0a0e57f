package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are recognized by words that only they have, once white space is evened out.
var licences = []struct {
	name  string
	words *regexp.Regexp
}{
	{"Apache-2.0", regexp.MustCompile(`Apache License,? Version 2\.0`)},
	{"BSD-3-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms.*Neither the name`)},
	{"BSD-2-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms`)},
	{"CC-BY-4.0", regexp.MustCompile(`Creative Commons Attribution 4\.0 International`)},
	{"FTL", regexp.MustCompile(`FreeType License`)},
	{"GPL", regexp.MustCompile(`(?i)GNU (Lesser |Affero )?General Public License`)},
	{"MIT", regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining a copy`)},
	{"MPL-2.0", regexp.MustCompile(`(?i)Mozilla Public License,? version 2\.0`)},
	{"Unlicense", regexp.MustCompile(`This is free and unencumbered software released into the public domain`)},
}

var licenceFile = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying)`)

// licenceOf names all licences in the licence files of the module in a folder.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		even := strings.Join(strings.Fields(string(text)), " ")
		for _, l := range licences {
			if l.words.MatchString(even) && !slices.Contains(found, l.name) && (l.name != "BSD-2-Clause" || !slices.Contains(found, "BSD-3-Clause")) {
				found = append(found, l.name)
			}
		}
	}
	if found == nil {
		return "", fmt.Errorf("%s has no licence that is known here", dir)
	}
	return strings.Join(found, ", "), nil
}

// TestLicences holds LICENCES.md to the modules that the program is linked from, with and
// without GPU code, and their licence files.
func TestLicences(t *testing.T) {
	const file = "LICENCES.md"
	var modules []string
	for _, tags := range []string{"", "gpu"} {
		list := exec.Command("go", "list", "-e", "-deps", "-tags", tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Indirect}} {{.Dir}}{{end}}{{end}}", ".")
		out, err := list.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", list, err, out)
		}
		modules = append(modules, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	}
	slices.Sort(modules)
	want := "# Licences\n\nThe modules that the program is linked from, and the licences that the files of\n" +
		"each name; where there are several, its files say what they apply to. `make generate` rewrites this table.\n\n" +
		"| module | version | required | licence |\n|---|---|---|---|\n"
	for _, m := range slices.Compact(modules) {
		fields := strings.Fields(m)
		if len(fields) != 4 {
			if m != "" {
				t.Errorf("go list printed %q", m)
			}
			continue
		}
		licence, err := licenceOf(fields[3])
		if err != nil {
			t.Error(err)
		}
		required := "directly"
		if fields[2] == "true" {
			required = "by another"
		}
		want += fmt.Sprintf("| %s | %s | %s | %s |\n", fields[0], fields[1], required, licence)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s differs from the modules (%v); go test ./cmd/magvit -run %s -update rewrites it", file, err, t.Name())
	}
}
