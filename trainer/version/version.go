// Package version names the release or commit that the program was built from.
package version

import (
	_ "embed"
	"regexp"
	"runtime/debug"
	"strings"
)

// archived holds the commit and its date in archives that git makes (see .gitattributes);
// in a clone it holds the format only.
//
//go:embed archive.txt
var archived string

const unknown = "unknown commit (built without git)"

// pseudo is the end of the version that go gives to a commit without a tag.
var pseudo = regexp.MustCompile(`\d{14}-[0-9a-f]{12}(\+dirty)?$`)

// String returns a release, such as "v1.2.0", or a commit, such as
// "commit 0123456789ab of 2026-11-28", and whether its files were changed.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(info, archived)
}

func describe(info *debug.BuildInfo, archived string) string {
	var commit, date, changed string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.time":
			date, _, _ = strings.Cut(s.Value, "T")
		case "vcs.modified":
			if s.Value == "true" {
				changed = ", with changes"
			}
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" && !pseudo.MatchString(v) {
		return strings.TrimSuffix(v, "+dirty") + changed
	}
	if commit == "" && !strings.Contains(archived, "$") {
		commit, date, _ = strings.Cut(strings.TrimSpace(archived), " ")
		changed = ", from a source archive"
	}
	if commit == "" {
		return unknown
	}
	commit = "commit " + commit[:min(12, len(commit))]
	if date != "" {
		commit += " of " + date
	}
	return commit + changed
}
