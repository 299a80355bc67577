//go:build matrix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/sandbox/supervise"
)

// says waits until `check` on broker 1 has one line of this name that begins so.
func (b *bed) says(broker int32, what, begin string) {
	b.Helper()
	var last []finding
	defer func() {
		if b.Failed() {
			b.Logf("last: %+v", last)
		}
	}()
	b.until(what+": "+begin, func() bool {
		last = nil
		for _, f := range b.findings(broker, what) {
			if f.Level != "ok" {
				last = append(last, f)
			}
		}
		return begin == "" && len(last) == 0 || begin != "" && len(last) == 1 && last[0].Level == "warning" && strings.HasPrefix(last[0].Text, begin)
	})
}

// TestMatrixKafka4: what only Kafka 4.x has, and what `check` and the agent say of it. A controller whose storage was
// formatted again has no vote, nor has one that was removed from the voters. A broker whose log directories are cordoned
// gets no new partition, so there are too few for the coordination topic.
func TestMatrixKafka4(t *testing.T) {
	data := t.TempDir() // absolute names: with relative ones cordoned.log.dirs had no effect on 4.4.0
	b := newCluster(t, sandbox.Options{
		Version: "4.4.0", DynamicQuorum: true, Brokers: 2, Controllers: 3,
		Properties: func(id int32) map[string]string {
			dirs := fmt.Sprintf("%[1]s/%[2]d-a,%[1]s/%[2]d-b", data, id)
			return map[string]string{"log.dirs": dirs, "metadata.log.dir": fmt.Sprintf("%s/%d-a", data, id)}
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const votes, dirs = "controllers without a vote", "log directories"
	b.says(1, votes, "")
	b.says(1, dirs, "")

	b.must(b.SetDynamic(ctx, 2, "cordoned.log.dirs", "*"))
	b.says(2, dirs, "all of this broker are cordoned (cordoned.log.dirs=* of kafka-configs --entity-name 2), so it gets no new partition")
	const why = "or some brokers have all their log directories cordoned); bring back the brokers that are down; if all are up, some may be cordoned"
	if out, errOut, code := b.fleet.Agent(1).Command(ctx, "pause"); code == 0 || !strings.Contains(errOut, why) {
		t.Errorf("pause, which makes the coordination topic: exit %d\n%s%s", code, out, errOut)
	}
	b.must(b.SetDynamic(ctx, 2, "cordoned.log.dirs", data+"/2-a"))
	b.says(2, dirs, fmt.Sprintf("new partitions go to %[1]s/2-b, and not to %[1]s/2-a (", data))
	b.must(b.ClearDynamic(ctx, 2, "cordoned.log.dirs"))
	b.says(2, dirs, "")

	// Controller 103 gets a new disk.
	before := b.directoryOf(103)
	n := b.Broker(103)
	b.must(n.Kill(ctx))
	b.must(errors.Join(os.RemoveAll(data+"/103-a"), os.RemoveAll(data+"/103-b")))
	format := b.Tool(ctx, "kafka.tools.StorageTool", "format", "-t", "BRl69zcmTFmiPaoaANybiw", "-c", n.Properties(), "--no-initial-controllers")
	format.Dir = n.Dir
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.must(n.Start(ctx))
	b.says(1, votes, "controller 103 runs with storage that was formatted again (directory id ")
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = 103, before
	cl, err := b.NewClient()
	b.must(err)
	defer cl.Close()
	if _, err := req.RequestWith(ctx, cl); err != nil {
		t.Fatal(err)
	}
	b.says(1, votes, "node 103 follows the quorum, and is neither a voter nor a registered broker: ")
	b.must(n.Kill(ctx))
	b.says(1, votes, "")
}

// directoryOf is the directory id of a voter.
func (b *bed) directoryOf(voter int32) (id [16]byte) {
	b.Helper()
	cl, err := b.NewClient()
	b.must(err)
	defer cl.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(b.Context(), cl)
	b.must(err)
	for _, v := range resp.Topics[0].Partitions[0].CurrentVoters {
		if v.ReplicaID == voter {
			return v.ReplicaDirectoryID
		}
	}
	b.must(errors.New("there is no such voter"))
	return id
}

// TestMatrixTwoVersions: brokers of 4.2.2 and 4.4.0 in one cluster, as in an upgrade.
func TestMatrixTwoVersions(t *testing.T) {
	b := newCluster(t, sandbox.Options{
		Version: "4.4.0", Brokers: 2, Format: []string{"--release-version", "4.2"},
		VersionOf: func(id int32) string { return []string{"4.2.2", "4.4.0"}[id-1] },
	})
	b.says(1, "versions of the brokers", "broker 2 runs Kafka 4.4, broker 1 runs Kafka 4.2: an upgrade is under way; bring all brokers to one version.")
}

// TestMatrixQuickStart: for how long a broker is silent that is stopped, cleanly or not, and started at once. The
// controller refuses it while the session of the process before lasts: from 4.x on also after a clean stop.
func TestMatrixQuickStart(t *testing.T) {
	table := "| Kafka | clean stop and start | refused meanwhile | killed and started | refused meanwhile |\n| --- | --- | --- | --- | --- |\n"
	for _, version := range []string{"3.7.1", "3.9.2", "4.1.2", "4.2.2", "4.4.0"} {
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Brokers: 1, Controllers: 1, Version: version})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			broker := b.Broker(1)
			refusals := func() int {
				text, err := os.ReadFile(broker.Log())
				b.must(err)
				return strings.Count(string(text), "because the controller returned error DUPLICATE_BROKER_REGISTRATION")
			}
			table += "| " + version + " |"
			for _, stop := range []struct {
				name string
				stop func() error
			}{{"a clean stop", func() error { return supervise.Stop(ctx, broker.Dir) }}, {"a kill", func() error { return broker.Kill(ctx) }}} {
				before := refusals()
				b.must(stop.stop())
				begin := time.Now()
				b.must(broker.Start(ctx))
				b.until("the broker answers", func() bool { _, err := b.Running(ctx, 1); return err == nil })
				silent, refused := time.Since(begin), refusals() > before
				if refused != (stop.name == "a kill" || version[0] == '4') {
					t.Errorf("after %s the controller refuses it: %v; docs/operations.md has `starting`", stop.name, refused)
				}
				table += fmt.Sprintf(" %.1f s | %s |", silent.Seconds(), map[bool]string{true: "yes", false: "no"}[refused])
			}
			table += "\n"
		})
	}
	matrixTable(t, "quickstart", table)
}
