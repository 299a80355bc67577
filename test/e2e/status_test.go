package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
)

// TestStatusOfMany: `status` of 300 brokers takes at most 1 s, the process's start included. The brokers are fake: how
// fast the command reads and prints is measured, not Kafka. It counts once in five, since the machine may be busy.
func TestStatusOfMany(t *testing.T) {
	const brokers, goal = 300, time.Second
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SleepOutOfOrder())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	allAtRest(t, c, brokers)
	dir := t.TempDir()
	_, port, err := net.SplitHostPort(c.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"server.properties": "process.roles=broker\nnode.id=0\ncontroller.quorum.bootstrap.servers=127.0.0.1:1\n" +
			"controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:" + port + "\nlog.dirs=/tmp/none\n",
		"kpls-agent.yaml": fmt.Sprintf("server_properties: %s/server.properties\nmanifest: %s/none.yaml\nstate_dir: %s\n"+
			"http: {listen: 127.0.0.1:1}\n", dir, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	best := time.Hour
	for range 5 {
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(t.Context(), agentBinary, "status", "--settings", filepath.Join(dir, "kpls-agent.yaml"))
		cmd.Stdout, cmd.Stderr = &out, &errOut
		begun := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, errOut.String())
		}
		best = min(best, time.Since(begun))
		text := out.String()
		if rows := strings.Count(text, "runs what the manifest says"); rows != brokers ||
			!strings.Contains(text, "IDLE  300 of 300 done") {
			t.Fatalf("%d rows:\n%.2000s", rows, text)
		}
		if best <= goal {
			break
		}
	}
	t.Logf("the fastest took %s", best)
	if best > goal {
		t.Errorf("it took %s, and the goal is %s", best, goal)
	}
}

// allAtRest has every agent of a fake cluster report that its broker is at rest.
func allAtRest(t *testing.T, c *kfake.Cluster, brokers int32) {
	t.Helper()
	cl, err := kafka.Open(kafka.Options{
		Seeds: c.ListenAddrs(), OwnAddress: c.ListenAddrs()[0], Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan struct{})
	reading, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		_ = cl.Log().Run(reading) // it ends with the context
	}()
	records := make([]restart.Record, 0, brokers)
	for id := range brokers {
		records = append(records, restart.NewStatus(restart.Status{
			Broker: id, Cluster: "many", Manifest: "h", Target: "h", Phase: restart.PhaseIdle, Since: time.Now(), Up: true,
			Reason: *restart.NewReason(restart.CodeInSync, "runs what the manifest says"), Zone: fmt.Sprint(id % 3),
		}))
	}
	err = cl.Log().Append(ctx, records...)
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
}
