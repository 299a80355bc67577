package kafka_test

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// newCluster starts a fake cluster of brokers 0..n-1 on loopback.
func newCluster(t testing.TB, n int, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(n), kfake.SleepOutOfOrder()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// open makes a client of the cluster and closes it with the test.
func open(t testing.TB, c *kfake.Cluster, change ...func(*kafka.Options)) *kafka.Client {
	t.Helper()
	opts := kafka.Options{
		Seeds:      c.ListenAddrs(),
		OwnAddress: c.ListenAddrs()[0],
		Logger:     slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&opts)
	}
	cl, err := kafka.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// run runs the log of a client until the test ends.
func run(t testing.TB, cl *kafka.Client) *kafka.Log {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cl.Log().Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return cl.Log()
}

// runNeeded is run for an agent that has something to append: it makes the topic.
func runNeeded(t testing.TB, cl *kafka.Client) *kafka.Log {
	t.Helper()
	l := run(t, cl)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && l.Append(ctx, restart.NewResume()) != nil { // the log's Facts say why not
			time.Sleep(100 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// within is a context for one call, generous for slow machines.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience.Long)
	t.Cleanup(cancel)
	return ctx
}

// noLeaks fails the test if goroutines of ours or of franz-go's client outlive it.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		for deadline := time.Now().Add(patience.Long); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			buf := make([]byte, 1<<20)
			buf = buf[:runtime.Stack(buf, true)]
			left = ""
			for g := range strings.SplitSeq(string(buf), "\n\n") {
				if strings.Contains(g, "internal/kafka.") || strings.Contains(g, "pkg/kgo.") {
					left += g + "\n\n"
				}
			}
			if left == "" {
				return
			}
		}
		t.Errorf("goroutines are left:\n%s", left)
	})
}

func hostPort(t testing.TB, addr string) (string, int) {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return tcp.IP.String(), tcp.Port
}

var (
	notEnough            = kerr.NotEnoughReplicas
	notEnoughAfterAppend = kerr.NotEnoughReplicasAfterAppend
)
