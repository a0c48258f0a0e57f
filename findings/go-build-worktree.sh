#!/usr/bin/env bash
# Go 1.26.8, go build in a linked git worktree (golang/go issue 58218, open).
# Expected from "go help build": a program gets the commit of the repository that its main
# package is in, and -buildvcs=true is an error where that cannot be done. Seen: a worktree
# next to its repository gets no commit, without an error; a worktree inside another
# repository gets the commit of that one:
#   next to: 0 settings vcs.*
#   inside: vcs.revision is that of the enclosing repository
set -euo pipefail
export GOTOOLCHAIN=go1.26.8 GOFLAGS= GIT_CONFIG_GLOBAL=/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# repository FOLDER: one commit of a program.
repository() {
  mkdir -p "$1"
  cd "$1"
  git init -q
  printf 'module x\n\ngo 1.26\n' >go.mod
  printf 'package main\n\nfunc main() {}\n' >main.go
  git add .
  git -c user.name=x -c user.email=x@example.org commit -q -m "$1"
}
settings() { go build -buildvcs=true -o program . && go version -m program | grep -o 'vcs\..*' || true; }

repository "$work/a"
repository "$work/other"
git -C "$work/a" worktree add -q "$work/next"
git -C "$work/a" worktree add -q "$work/other/inside"
cd "$work/a"
settings | grep -q "vcs.revision=$(git rev-parse HEAD)" # an ordinary clone is stamped

cd "$work/next"
n=$(settings | wc -l)
echo "next to: $n settings vcs.*"
[ "$n" = 0 ]

cd "$work/other/inside"
settings | grep -q "vcs.revision=$(git -C "$work/other" rev-parse HEAD)"
[ "$(git rev-parse HEAD)" != "$(git -C "$work/other" rev-parse HEAD)" ]
echo "inside: vcs.revision is that of the enclosing repository"
