package version

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	const clone = "$Format:%H %cs$\n"
	commit := []debug.BuildSetting{
		{Key: "vcs", Value: "git"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.time", Value: "2026-11-28T15:10:33Z"},
	}
	changed := append(commit[:3:3], debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, c := range []struct {
		name, version, archived, want string
		settings                      []debug.BuildSetting
	}{
		{"a tag", "v1.2.0", clone, "v1.2.0", commit},
		{"a tag, changed", "v1.2.0+dirty", clone, "v1.2.0, with changes", changed},
		{"a module without a repository", "v1.2.0", clone, "v1.2.0", nil},
		{"a commit", "v0.0.0-20261128151033-0123456789ab", clone, "commit 0123456789ab of 2026-11-28", commit},
		{"a commit after a tag", "v1.2.1-0.20261128151033-0123456789ab+dirty", clone, "commit 0123456789ab of 2026-11-28, with changes", changed},
		{"a commit, by an older go", "(devel)", clone, "commit 0123456789ab of 2026-11-28", commit},
		{"an archive", "(devel)", "fedcba9876543210fedcba9876543210fedcba98 2026-11-27\n", "commit fedcba987654 of 2026-11-27, from a source archive", nil},
		{"a copy of the files", "(devel)", clone, unknown, nil},
		{"no build information", "", clone, unknown, nil},
	} {
		info := &debug.BuildInfo{Settings: c.settings}
		info.Main.Version = c.version
		if got := describe(info, c.archived); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestArchiveFile holds archive.txt to the form that git archive replaces.
func TestArchiveFile(t *testing.T) {
	if want := "$Format:%H %cs$\n"; archived != want && len(archived) != 40+1+10+1 {
		t.Errorf("archive.txt holds %q, want %q or a commit and a date", archived, want)
	}
}
