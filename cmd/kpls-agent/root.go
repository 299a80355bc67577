package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/kpls-agent/internal/settings"
)

// Exit codes, the same for all commands.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2 // usage or invalid input
	exitDiffers = 3 // differs, or blocked
)

// exitError carries an exit code. A nil err has been told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func invalid(err error) error { return &exitError{exitUsage, err} }

// shared is what all commands have in common.
type shared struct {
	settingsPath string
	stdin        io.Reader
	stdout       io.Writer
	stderr       io.Writer
	told         string // the fault of the settings that was told
}

// execute runs one command and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(&shared{stdin: stdin, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err != nil {
			fmt.Fprintf(stderr, "kpls-agent: %v\n", e.err)
		}
		return e.code
	}
	// No command has begun: an unknown command or flag, a missing one, a value that cannot be read.
	fmt.Fprintf(stderr, "kpls-agent: %v; see `%s --help`\n", err, cmd.CommandPath())
	return exitUsage
}

// newRoot is the tree of all commands.
func newRoot(s *shared) *cobra.Command {
	root := &cobra.Command{
		Use:                        "kpls-agent",
		Short:                      "Keeps a Kafka broker's listeners equal to one manifest, one safe restart at a time",
		Version:                    version,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("kpls-agent {{.Version}}\n")
	root.PersistentFlags().StringVar(&s.settingsPath, "settings", settings.DefaultPath, "this VM's settings `file`")
	root.AddCommand(
		newRun(s), newCheck(s), newPlan(s), newStatus(s), newPause(s), newResume(s), newRestart(s), newRelease(s),
		newVerify(s), newRender(s), newExplain(s), newJudge(s), newSetup(s), newVersion(s),
	)
	// The commands that only hold others run, too, to say which word is unknown: that is no way to use them.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}",
		"{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var value *pflag.InvalidValueError
		var number *strconv.NumError
		if errors.As(err, &value) && errors.As(err, &number) {
			return fmt.Errorf("--%s %q is no whole number, or is out of range", value.GetFlag().Name, value.GetValue())
		}
		return err
	})
	for _, c := range root.Commands() {
		c.Example = example(c.Name())
	}
	root.InitDefaultVersionFlag()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	tell(root)
	return root
}

//go:embed examples.txt
var examples string

// example is what the help and the man page show of a command, indented by two.
func example(name string) string {
	_, text, _ := strings.Cut("\n"+examples, "\n"+name+"\n")
	text, _, _ = strings.Cut(text, "\n\n")
	return strings.TrimRight(text, "\n")
}

// tell has each command say what went wrong: what it returns itself is a failure unless it says otherwise, and a
// word that is none of its commands is an error. cobra alone would print the help and succeed.
func tell(c *cobra.Command) {
	for _, sub := range c.Commands() {
		tell(sub)
	}
	switch {
	case c.Name() == "help":
		c.Run, c.RunE = nil, func(help *cobra.Command, words []string) error {
			about, rest, err := help.Root().Find(words)
			if err == nil {
				err = unknown(about, rest)
			}
			if err != nil {
				return invalid(err)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		}
	case !c.Runnable():
		c.Args, c.RunE = unknown, func(c *cobra.Command, _ []string) error { return c.Help() }
	case c.RunE != nil:
		run := c.RunE
		c.RunE = func(c *cobra.Command, args []string) error {
			err := run(c, args)
			var e *exitError
			if err == nil || errors.As(err, &e) {
				return err
			}
			return &exitError{exitFailed, err}
		}
	}
}

// unknown is an error for the first word of args, if there is one, with the commands that are spelled nearly so.
func unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q%s", args[0], didYouMean(c, args[0]))
}

// noWords is for a command that takes flags alone. A word may be one of them without its dashes.
func noWords(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if c.Flags().Lookup(args[0]) != nil {
		hint = " (did you mean --" + args[0] + "?)"
	}
	return fmt.Errorf("`%s` takes no word %q%s", c.CommandPath(), args[0], hint)
}

// didYouMean is a hint at the commands that are spelled nearly like a word, or "".
func didYouMean(c *cobra.Command, word string) string {
	near := c.SuggestionsFor(word)
	if len(near) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(near, " or ") + "?)"
}

func newVersion(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noWords,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.stdout, "kpls-agent", version)
			return err
		},
	}
}
