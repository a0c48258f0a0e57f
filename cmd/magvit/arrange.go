package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// dataFlag belongs to every command that reads a set of clips. arrange makes its arguments values of this flag, so that
// magvit eval --checkpoint RUN clips/ and magvit inspect --data clips/ are what they seem.
func dataFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: dataName, Usage: "clips, `DATA`: a file, folder or pattern; may be given again, or without --data"}
}

const dataName = "data"

// arrange moves flags before arguments, since the cli package stops looking for flags at the first argument, makes the
// arguments of a command with dataFlag values of it, and rewrites "help X" as "X --help". Arguments after --val are held-out
// clips: a shell makes several words of --val val/*.mp4, and none of them may be trained on.
func arrange(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	if args[1] == "help" {
		args = append(append(args[:1:1], args[2:]...), "--help")
	}
	if word := args[1]; !strings.HasPrefix(word, "-") && named(app.Commands, word) == nil {
		return args[:2] // the app refuses it, where --help would ask for its help
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
	of := dataName // the flag that an argument is a value of
	operand := func(words ...string) {
		for _, word := range words {
			if flagNamed(flags, dataName) == nil {
				operands = append(operands, word)
			} else {
				out = append(out, "--"+of, word)
			}
		}
	}
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		if word == "--" {
			operand(rest...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			operand(word)
			continue
		}
		out = append(out, word)
		name, _, whole := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if of = dataName; name == "val" {
			of = name
		}
		if f := flagNamed(flags, name); !whole && f != nil && !isBool(f) && len(rest) > 0 {
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

// flagNamed returns the flag of that name, nil if there is none.
func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func isBool(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}
