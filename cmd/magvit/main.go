// Command magvit trains, evaluates and uses MAGVIT-v2 style video tokenizers.
//
// Each command is a file. Results go to stdout, everything else to stderr; the
// exit status is 0 done, 1 failed, 2 wrong usage or bad input, 130 interrupted: by
// Ctrl-C, SIGTERM, a terminal that closes or a pipe whose reader is gone. An interrupted
// training saves first; a second Ctrl-C or SIGTERM ends the program without.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/usage"
	"magvit/trainer/version"
)

const (
	done        = 0
	failed      = 1
	badInput    = 2
	interrupted = 130
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go interruptOn(signals, stop, os.Exit)
	// A write to a closed pipe is an error then, and no end of the program.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	status := run(ctx, os.Args, watchPipe(os.Stdout, stop), watchPipe(os.Stderr, stop))
	launched.exit(status)
}

// interruptOn asks the command to stop at the first signal. A second Ctrl-C or SIGTERM
// ends the program at once; a terminal that closes may send SIGHUP twice.
func interruptOn(signals <-chan os.Signal, stop context.CancelFunc, exit func(int)) {
	asked := false
	for s := range signals {
		stop()
		if asked && s != syscall.SIGHUP {
			exit(interrupted)
		}
		asked = true
	}
}

// watchPipe returns a writer that calls stop when the reader of a pipe is gone, as in
// magvit train 2>&1 | tee log after Ctrl-C.
func watchPipe(f *os.File, stop context.CancelFunc) io.Writer {
	if terminal(f) {
		return f
	}
	return pipe{f, stop}
}

type pipe struct {
	io.Writer
	stop context.CancelFunc
}

func (p pipe) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.stop()
	}
	return n, err
}

// run executes a command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	results := &checkedWriter{Writer: stdout}
	app := newApp(results, stderr)
	err := app.RunContext(ctx, arrange(app, args))
	if err == nil {
		err = results.err
	}
	if err == nil {
		return done
	}
	status := statusOf(ctx, err)
	if status == interrupted && !errors.Is(err, trainer.ErrInterrupted) {
		err = errors.New("interrupted")
	}
	status, text := launched.fail(err, status)
	if text != "" {
		fmt.Fprintf(stderr, "magvit: %s\n", printable(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")))
	}
	return status
}

// checkedWriter keeps the first error, for what does not look at it, as the writers of help.
type checkedWriter struct {
	io.Writer
	err error
}

func (w *checkedWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// maxMessage bounds the bytes of a message.
const maxMessage = 8000

// printable is text for a terminal: names of files may hold control characters and bytes that are no text, and be of any length.
func printable(text string) string {
	if len(text) > maxMessage {
		text = text[:maxMessage] + "…"
	}
	var b strings.Builder
	for _, r := range text {
		if !strconv.IsPrint(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:  "magvit",
		Usage: "train, evaluate and use video tokenizers",
		Description: `Example: train a tokenizer on your own clips and watch its reconstructions
   magvit train --data clips/ --out runs/first --minutes 10
   magvit eval --checkpoint runs/first --data clips/
   magvit reconstruct --checkpoint runs/first --data clips/ --out seen.mp4`,
		Version: version.String(),
		Writer:  stdout, ErrWriter: stderr,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // values hold commas: model.layers=[residual, residual]
		OnUsageError:              onUsageError,
		Before:                    refuseRanks,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides
		Action:                    func(c *cli.Context) error { return unknownCommand(c, c.App.Commands) },
		Commands: []*cli.Command{
			synthCommand(), inspectCommand(), indexCommand(), packCommand(),
			trainCommand(), evalCommand(), compareCommand(), encodeCommand(), codesCommand(), decodeCommand(), sampleCommand(), reconstructCommand(), probeCommand(), reportCommand(),
			importCommand(), exportCommand(),
			presetsCommand(), benchCommand(), doctorCommand(), versionCommand(),
		},
	}
	for _, c := range app.Commands {
		prepare(c)
	}
	return app
}

// prepare sets what all commands have in common.
func prepare(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	if flagNamed(c.Flags, dataName) != nil {
		c.ArgsUsage = "[DATA...]"
	}
	for _, f := range c.Flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
	for _, sub := range c.Subcommands {
		prepare(sub)
	}
}

// example is a command's description: command lines.
func example(lines ...string) string { return "Example:\n   " + strings.Join(lines, "\n   ") }

func unknownCommand(c *cli.Context, known []*cli.Command) error {
	if !c.Args().Present() {
		return cli.ShowAppHelp(c)
	}
	var names []string
	for _, k := range known {
		names = append(names, k.Name)
	}
	return usagef("%q is not a command; commands are %s", c.Args().First(), strings.Join(names, ", "))
}

func usagef(format string, args ...any) error { return usage.Errorf(format, args...) }

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "magvit"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	text := strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1)
	text = strings.Replace(text, "flag needs an argument: -", "a value is missing after --", 1)
	if m := badValue.FindStringSubmatch(text); m != nil && c.Command != nil {
		text = fmt.Sprintf("--%s %s: want %s", m[2], m[1], kindOfFlag(c.Command.Flags, m[2]))
	}
	return usagef("%s (%s --help lists the flags)", text, name)
}

// badValue is how package flag refuses a value: the value in quotes, and the flag.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-([\w-]+): `)

// kindOfFlag describes the values of a flag.
func kindOfFlag(flags []cli.Flag, name string) string {
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.IntFlag:
			return "a whole number"
		case *cli.Uint64Flag:
			return "a whole number, not negative"
		case *cli.Float64Flag:
			return "a number"
		case *cli.BoolFlag:
			return "true or false, or no value"
		case *cli.DurationFlag:
			return "a duration, such as 250ms or 1m30s"
		}
	}
	return "another value"
}

// statusOf is the exit status that an error asks for.
func statusOf(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, trainer.ErrInterrupted), ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, syscall.EPIPE)):
		return interrupted
	case errors.Is(err, usage.Error),
		errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT): // a full disk is the user's to free
		return badInput
	}
	return failed
}

// need returns an error if one of the flags is missing or empty.
func need(c *cli.Context, flags ...string) error {
	for _, f := range flags {
		switch {
		case !c.IsSet(f):
			return usagef("--%s is missing (%s --help shows an example)", f, c.Command.HelpName)
		case c.String(f) == "":
			return usagef("--%s is empty (%s --help shows an example)", f, c.Command.HelpName)
		case f == "out" && c.String(f) == "-":
			return usagef("--out -: nothing is written to stdout; name a file or folder, ./- for one of that name")
		}
	}
	return nil
}

// arguments checks the number of arguments that are not flags.
func arguments(c *cli.Context, least, most int, what string) ([]string, error) {
	args := c.Args().Slice()
	switch {
	case len(args) < least:
		return nil, usagef("%s is missing (%s --help shows an example)", what, c.Command.HelpName)
	case slices.Contains(args, ""):
		return nil, usagef("an argument is empty: want %s (%s --help shows an example)", what, c.Command.HelpName)
	case len(args) > most:
		return nil, usagef("%q is one argument too many (%s --help shows an example)", args[most], c.Command.HelpName)
	}
	return args, nil
}
