package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange moves flags before arguments, since the cli package stops looking for
// flags at the first argument, and rewrites "help X" as "X --help".
func arrange(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	if args[1] == "help" {
		args = append(append(args[:1:1], args[2:]...), "--help")
	}
	out, rest, known := args[:1:1], args[1:], app.Commands
	var flags []cli.Flag
	for len(rest) > 0 {
		c := named(known, rest[0])
		if c == nil {
			break
		}
		out, rest = append(out, c.Name), rest[1:]
		flags, known = c.Flags, c.Subcommands
	}
	var operands []string
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		if word == "--" {
			operands = append(operands, rest...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			operands = append(operands, word)
			continue
		}
		out = append(out, word)
		if takesValue(flags, word) && len(rest) > 0 {
			out, rest = append(out, rest[0]), rest[1:]
		}
	}
	if len(operands) > 0 {
		out = append(append(out, "--"), operands...)
	}
	return out
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue reports whether the word after a flag is its value.
func takesValue(flags []cli.Flag, word string) bool {
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				_, boolean := f.(*cli.BoolFlag)
				return !boolean
			}
		}
	}
	return false
}
