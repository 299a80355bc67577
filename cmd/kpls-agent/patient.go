package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// tellEvery is how long a command may say nothing while it waits for Kafka.
const tellEvery = 2 * time.Second

// patiently runs f, and writes what it waits for, each new reason once, while it
// takes longer than a moment: a command that says nothing looks dead.
func patiently(ctx context.Context, w io.Writer, why func() string, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		if text := why(); text != told {
			told = text
			left := ""
			if d, ok := ctx.Deadline(); ok {
				left = " for another " + time.Until(d).Round(time.Second).String()
			}
			fmt.Fprintf(w, "kpls-agent: still trying%s: %s\n", left, text)
		}
	}
}
