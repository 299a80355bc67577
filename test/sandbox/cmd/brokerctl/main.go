// Command brokerctl is the service manager of a sandbox's brokers.
//
//	brokerctl start|stop|restart|status|kill DIR
//
// It exits 0 when that is done, 1 when not, 2 when called wrongly. `status`
// prints one line that is the same as long as the same process runs, and exits 3
// when none runs. `monitor DIR` is for brokerctl itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.com/kpls-agent/test/sandbox/supervise"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintln(stderr, "usage: brokerctl start|stop|restart|status|kill DIR")
		return 2
	}
	program, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, "brokerctl:", err)
		return 1
	}
	ctl, dir := supervise.Controller{Program: program}, args[1]
	switch args[0] {
	case "start":
		err = ctl.Start(ctx, dir)
	case "stop":
		err = supervise.Stop(ctx, dir)
	case "restart":
		err = ctl.Restart(ctx, dir)
	case "kill":
		err = supervise.Kill(ctx, dir)
	case "monitor":
		err = supervise.Monitor(dir)
	case "status":
		var p supervise.Process
		if p, err = supervise.Status(dir); err == nil {
			fmt.Fprintln(stdout, p)
		}
	default:
		fmt.Fprintf(stderr, "brokerctl: no command %q\n", args[0])
		return 2
	}
	return exitCode(err, stderr)
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, supervise.ErrNotRunning):
		fmt.Fprintln(stderr, err)
		return 3
	default:
		fmt.Fprintln(stderr, "brokerctl:", err)
		return 1
	}
}
