package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/orders"
)

// TestNobodyToAsk: what starts something refuses where nobody can answer, before it talks to anybody.
func TestNobodyToAsk(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, args := range [][]string{{"restart"}, {"resume"}, {"release", "--broker", "1"}} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), append(args, "--settings", "/nonesuch"), null, &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), "no terminal to ask on; nothing was changed. Use --yes") {
			t.Errorf("%v: exit %d: %s%s", args, code, out.String(), errOut.String())
		}
	}
	// The brakes never ask: they come as far as the settings.
	for _, args := range [][]string{{"pause"}, {"restart", "--cancel"}, {"restart", "--yes"}} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), append(args, "--settings", "/nonesuch"), null, &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), "/nonesuch") {
			t.Errorf("%v: exit %d: %s%s", args, code, out.String(), errOut.String())
		}
	}
}

// TestConfirm asks on a terminal of the kernel's own.
func TestConfirm(t *testing.T) {
	order := orders.Order{What: "cluster c, brokers 1, 2\n", Question: "Restart brokers 1, 2?"}
	for answer, goes := range map[string]bool{
		"y\n": true, "yes\n": true, "Y\n": true, "n\n": false, "\n": false, "what\n": false, "\x04": false,
	} {
		near, far := terminal(t)
		if !interactive(&shared{stdin: far}) {
			t.Fatal("the terminal is not seen as one")
		}
		if _, err := near.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := (&shared{stdin: far, stdout: &out}).confirm(t.Context(), order)
		if (err == nil) != goes {
			t.Errorf("answer %q: %v", answer, err)
		}
		if want := "cluster c, brokers 1, 2\nRestart brokers 1, 2? [y/N] "; out.String() != want {
			t.Errorf("asked %q, want %q", out.String(), want)
		}
	}
	// Ctrl-C while nobody answers.
	_, far := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&shared{stdin: far, stdout: &bytes.Buffer{}}).confirm(ctx, order); err == nil {
		t.Error("an interrupt is a yes")
	}
}

// terminal is a new terminal: what a human writes to near, a command reads from far.
func terminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}
