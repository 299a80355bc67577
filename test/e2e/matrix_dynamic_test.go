//go:build matrix

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// proofWaits is how long a proof must wait for a dynamic setting here: longer than whatever the agent repeats, so a
// rollback would have begun.
const proofWaits = 15 * time.Second

// TestMatrixDynamicProof: between the agent's last save and the broker's stop somebody sets `listeners` as kafka-configs
// does, with another port for EXTERNAL. Kafka takes it, and both processes report that port and listen at the file's. The
// agent must wait, name the setting and roll nothing back; once the setting is deleted, it goes on without another
// restart. The models of test/sim and test/explore say the same of the agent.
func TestMatrixDynamicProof(t *testing.T) {
	table := "| Kafka | EXTERNAL of the new process, as it reports | where it listens | the agent says | rolled back | after the setting was deleted |\n" +
		"| --- | --- | --- | --- | --- | --- |\n"
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Brokers: 1, Version: version})
			broker := b.Brokers[0]
			asked, stop := b.restartWaits()
			b.must(os.WriteFile(stop, nil, 0o600))
			b.startAgents()
			first := b.fleet.Manifest(fleet.ManifestOptions{})
			b.give(first)
			b.rolled(first)
			b.must(errors.Join(os.Remove(asked), os.Remove(stop)))
			starts := b.starts()[1]
			manifest := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9293})
			b.give(manifest)
			b.until("the agent has the broker restarted", func() bool { _, err := os.Stat(asked); return err == nil })
			ours, moved := broker.Addr(sandbox.ExternalPort), broker.Addr(sandbox.ExternalPort+7)
			value := strings.Replace(listenersOf(b.files()[1]), ours, moved, 1)
			b.must(b.SetDynamic(t.Context(), 1, "listeners", value))
			b.inForce("listeners", value)
			b.must(os.WriteFile(stop, nil, 0o600))

			var row fleet.Row
			b.wait("the proof waits for the dynamic setting", func(r fleet.Report) bool {
				row = r.Row(1)
				return row.Reason.Code == "dynamic_config" && time.Since(row.Since) > proofWaits
			})
			t.Logf("%s: %s", row.Phase, row.Reason.Text)
			if !strings.Contains(row.Reason.Text, "listeners") {
				t.Errorf("the reason does not name the setting: %s", row.Reason.Text)
			}
			running, err := b.Running(t.Context(), 1)
			b.must(err)
			says := map[bool]string{true: "the other port", false: "the file's port"}
			described, socket := says[strings.Contains(running["listeners"], moved)], says[b.listens(moved) && !b.listens(ours)]
			if r := b.wait("a status", func(fleet.Report) bool { return true }); len(r.Halts) > 0 || b.starts()[1] != starts+1 {
				t.Errorf("halts %v, %d starts", r.Halts, b.starts()[1]-starts)
			}

			deleted := time.Now()
			b.must(b.ClearDynamic(t.Context(), 1, "listeners"))
			b.rolled(manifest)
			after := time.Since(deleted)
			if n := b.starts()[1] - starts; n != 1 {
				t.Errorf("%d restarts", n)
			}
			table += fmt.Sprintf("| %s | %s | %s | `dynamic_config` for %s, phase %s | no | done in %.1f s, no other restart |\n",
				version, described, socket, proofWaits, row.Phase, after.Seconds())
		})
	}
	matrixTable(t, "dynamic", table)
}

// restartWaits has the agent's command for a restart wait for a file before it stops the broker. It makes the file
// asked at its beginning. Where the test ends first, the command fails.
func (b *bed) restartWaits() (asked, stop string) {
	b.Helper()
	dir := b.TempDir()
	asked, stop = filepath.Join(dir, "asked"), filepath.Join(dir, "stop")
	path := b.fleet.Agents[0].Settings()
	settings, err := os.ReadFile(path)
	b.must(err)
	wrapper := fmt.Sprintf(`  restart: [sh, -c, 'touch %s; while [ ! -e %s ]; do [ -d %s ] || exit 1; sleep 0.05; done; exec "$@"', sh, `,
		asked, stop, dir)
	b.must(os.WriteFile(path, []byte(strings.Replace(string(settings), "  restart: [", wrapper, 1)), 0o600))
	return asked, stop
}

// listens is true if a connection is accepted.
func (b *bed) listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		err = conn.Close()
	}
	return err == nil
}

// listenersOf is the value of listeners in a server.properties.
func listenersOf(file string) string {
	for line := range strings.Lines(file) {
		if value, ok := strings.CutPrefix(line, "listeners="); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
