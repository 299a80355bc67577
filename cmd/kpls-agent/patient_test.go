package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatiently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begin := time.Now()
		var said strings.Builder
		why := func() string {
			if time.Since(begin) > 9*time.Second {
				return "not authorized"
			}
			return "no answer"
		}
		err := patiently(ctx, &said, why, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if want := "kpls-agent: still trying for another 18s: no answer\nkpls-agent: still trying for another 10s: not authorized\n"; said.String() != want {
			t.Errorf("said %q, want %q", said.String(), want)
		}
		said.Reset()
		if err := patiently(ctx, &said, why, func(context.Context) error { return nil }); err != nil || said.Len() > 0 {
			t.Errorf("what takes no time said %q, %v", said.String(), err)
		}
	})
}
