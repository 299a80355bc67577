package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

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
}

// execute runs one command and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(&shared{stdin: stdin, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var e *exitError
	if !errors.As(err, &e) {
		// What cobra itself says (an unknown command, a missing argument) is usage.
		e = &exitError{exitUsage, err}
		if started(root, args) {
			e.code = exitFailed
		}
	}
	if e.err != nil {
		fmt.Fprintf(stderr, "kpls-agent: %v\n", e.err)
	}
	return e.code
}

// newRoot is the tree of all commands.
func newRoot(s *shared) *cobra.Command {
	root := &cobra.Command{
		Use:           "kpls-agent",
		Short:         "Keeps a Kafka broker's listeners equal to one manifest, one safe restart at a time",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.PersistentFlags().StringVar(&s.settingsPath, "settings", settings.DefaultPath, "this VM's settings `file`")
	root.AddCommand(
		newRun(s), newCheck(s), newPlan(s), newStatus(s), newPause(s), newResume(s), newRestart(s), newRelease(s),
		newVerify(s), newSetup(s), newVersion(s),
	)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return invalid(err) })
	return root
}

// started is true if the arguments name a command that takes them.
func started(root *cobra.Command, args []string) bool {
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root {
		return false
	}
	return cmd.ValidateArgs(cmd.Flags().Args()) == nil || len(rest) == 0
}

func newVersion(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.stdout, "kpls-agent", version)
			return err
		},
	}
}
