package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestBadManifests: what can be known before a restart is refused before it;
// what only the restart proves wrong hurts one broker, which is rolled back.
func TestBadManifests(t *testing.T) {
	t.Parallel()
	b := newBed(t, sandbox.Options{})
	files, starts := b.files(), b.starts()

	t.Run("port of another process", func(t *testing.T) {
		l, err := net.Listen("tcp", b.Brokers[1].Addr(sandbox.ExternalPort))
		if err != nil {
			t.Fatal(err)
		}
		b.give(b.fleet.Manifest(fleet.ManifestOptions{}))
		r := b.wait("the port is refused", func(r fleet.Report) bool {
			return r.Row(2).Phase == "refused" && strings.Contains(r.Row(2).Reason.Text, "port 39092 is taken") &&
				r.Row(1).Reason.Code == "refused_elsewhere" && r.Row(3).Reason.Code == "refused_elsewhere"
		})
		b.untouched(files, starts)
		t.Logf("broker 1: %s", r.Row(1).Reason.Text)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	good := b.fleet.Manifest(fleet.ManifestOptions{})
	b.rolled(good) // the port is free: it goes on by itself

	t.Run("key store that does not open", func(t *testing.T) {
		files, starts := b.files(), b.starts()
		manifest := b.badManifest()
		b.give(manifest)
		hash := hashOf(manifest)
		r := b.wait("the roll-out is halted", func(r fleet.Report) bool {
			return r.State == "halted" && len(r.Claims) == 0 && r.All(3, func(row fleet.Row) bool {
				return row.Manifest == hash && row.Reason.Code == "halted"
			})
		})
		hurt := 0
		for id, n := range b.starts() {
			switch n - starts[id] {
			case 0:
			case 2: // the attempt and the way back
				hurt++
			default:
				t.Errorf("broker %d had %d starts", id, n-starts[id])
			}
			if b.files()[id] != files[id] {
				t.Errorf("server.properties of broker %d is not the last good one", id)
			}
		}
		if hurt != 1 || len(r.Halts) != 1 {
			t.Errorf("%d brokers were hurt, halts %+v", hurt, r.Halts)
		}
		b.noSecret("planted-secret")
		b.give(good)
		b.rolled(good)
	})

	t.Run("a file that is made again at each start", func(*testing.T) { b.madeAnew(good) })

	t.Run("not a manifest", func(*testing.T) {
		starts, files := b.starts(), b.files()
		b.give("version: 1\nnonsense: {\n")
		b.wait("the fault is shown, the last good one stays", func(r fleet.Report) bool {
			return r.All(3, func(row fleet.Row) bool {
				return row.ManifestFault != "" && row.Manifest == hashOf(good) && row.Phase == "idle"
			})
		})
		b.untouched(files, starts)
		b.give(good)
		b.rolled(good)
	})

	t.Run("another on one host", func(t *testing.T) {
		starts, files := b.starts(), b.files()
		if err := b.fleet.Agent(3).WriteManifest(b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9393})); err != nil {
			t.Fatal(err)
		}
		b.wait("the difference is named", func(r fleet.Report) bool {
			return r.Row(3).Reason.Code == "manifest_differs" && strings.Contains(r.Row(3).Reason.Text, "put the same file on both")
		})
		b.untouched(files, starts)
		b.give(good)
		b.rolled(good)
	})

	t.Run("a broker that is not in it", func(*testing.T) {
		starts, files := b.starts(), b.files()
		b.give(b.fleet.Manifest(fleet.ManifestOptions{WithoutLast: true, FirstPort: 9393}))
		b.wait("the missing broker is named", func(r fleet.Report) bool {
			return r.Row(3).Phase == "refused" && r.Row(1).Drift && r.Row(1).Reason.Code == "not_in_manifest"
		})
		b.untouched(files, starts)
		b.give(good)
		b.rolled(good)
	})

	t.Run("another cluster", func(*testing.T) {
		starts, files := b.starts(), b.files()
		b.give(b.fleet.Manifest(fleet.ManifestOptions{Cluster: "other", FirstPort: 9393}))
		b.wait("the name is refused", func(r fleet.Report) bool {
			return r.All(3, func(row fleet.Row) bool { return strings.Contains(row.ManifestFault, `"other"`) })
		})
		b.untouched(files, starts)
		b.give(good)
		b.rolled(good)
	})

	t.Run("a dynamic configuration over the file", func(t *testing.T) {
		const key = "listener.security.protocol.map"
		running, err := b.Running(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SetDynamic(t.Context(), 2, key, running[key]+",SPARE:PLAINTEXT"); err != nil {
			t.Fatal(err)
		}
		b.until("the dynamic value is in force", func() bool {
			now, err := b.Running(t.Context(), 2)
			return err == nil && now[key] != running[key]
		})
		starts, files := b.starts(), b.files()
		manifest := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9393})
		b.give(manifest)
		b.wait("the dynamic value is named", func(r fleet.Report) bool {
			return r.Row(2).Reason.Code == "dynamic_config" && r.Row(1).Reason.Code == "refused_elsewhere"
		})
		b.untouched(files, starts)
		if err := b.ClearDynamic(t.Context(), 2, key); err != nil {
			t.Fatal(err)
		}
		b.rolled(manifest)
	})
}

// madeAnew gives every broker a start script that copies a template over its
// server.properties: the first one to go halts the roll-out and says so, and as it
// runs what it ran before, it is not restarted a second time.
func (b *bed) madeAnew(good string) {
	b.Helper()
	before := map[string][]byte{}
	for _, a := range b.fleet.Agents {
		br := b.Broker(a.ID)
		file, err := os.ReadFile(br.Properties())
		b.must(err)
		template := filepath.Join(b.TempDir(), "template")
		b.must(os.WriteFile(template, file, 0o600))
		settings, err := os.ReadFile(a.Settings())
		b.must(err)
		before[a.Settings()] = settings
		wrapper := fmt.Sprintf(`  restart: [sh, -c, 'cp %s %s && exec "$@"', sh, `, template, br.Properties())
		b.must(os.WriteFile(a.Settings(), []byte(strings.Replace(string(settings), "  restart: [", wrapper, 1)), 0o600))
	}
	again := func() {
		b.Helper()
		b.fleet.Close()
		b.must(b.fleet.Start(b.Context()))
	}
	again()
	b.rolled(good)

	files, starts := b.files(), b.starts()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9493})
	b.give(manifest)
	r := b.wait("the roll-out is halted", func(r fleet.Report) bool {
		return r.State == "halted" && len(r.Claims) == 0 && r.All(3, func(row fleet.Row) bool {
			return row.Manifest == hashOf(manifest) && row.Reason.Code == "halted"
		})
	})
	const want = "; server.properties was changed between the agent's writing and the process's start"
	if len(r.Halts) != 1 || !strings.Contains(r.Halts[0].Why, want) {
		b.Fatalf("halts %+v, want one: %s", r.Halts, want)
	}
	first := b.fleet.Agent(r.Halts[0].Broker)
	starts[first.ID]++
	if now := b.starts(); !maps.Equal(now, starts) {
		b.Errorf("broker %d halted, and the starts are %v, want %v", first.ID, now, starts)
	}
	if now := b.files(); !maps.Equal(now, files) {
		b.Errorf("the files are %v, want %v", now, files)
	}
	log, err := os.ReadFile(first.Log())
	if err != nil || !strings.Contains(string(log), "somebody else changed the agent's lines of server.properties") {
		b.Errorf("the log does not name the rewrite: %v", err)
	}
	for path, settings := range before {
		b.must(os.WriteFile(path, settings, 0o600))
	}
	again()
	b.give(good)
	b.rolled(good)
}

// badManifest is one that only the restart proves wrong, since these agents have no judge: its key store is none.
func (b *bed) badManifest() string {
	b.Helper()
	garbage := filepath.Join(b.TempDir(), "keystore.jks")
	if err := os.WriteFile(garbage, []byte("no key store"), 0o600); err != nil {
		b.Fatal(err)
	}
	return b.fleet.Manifest(fleet.ManifestOptions{Protocol: "SSL", Extra: "    properties:\n      ssl.keystore.location: " + garbage + "\n      ssl.keystore.password: planted-secret\n      ssl.key.password: planted-secret\n"})
}

// untouched holds that no file changed and no broker was restarted.
func (b *bed) untouched(files map[int32]string, starts map[int32]int) {
	b.Helper()
	for id, text := range b.files() {
		if text != files[id] {
			b.Errorf("server.properties of broker %d was changed to\n%s", id, text)
		}
	}
	for id, n := range b.starts() {
		if n != starts[id] {
			b.Errorf("broker %d was started %d times", id, n-starts[id])
		}
	}
}

// noSecret holds promise 10: logs, statuses and the journal do not have it. The
// copies of server.properties do, and nobody but their owner can read them.
func (b *bed) noSecret(secret string) {
	b.Helper()
	out, _, _ := b.fleet.Agents[0].Command(b.Context(), "status", "-o", "json")
	plan, _, _ := b.fleet.Agents[0].Command(b.Context(), "plan")
	texts := map[string]string{"status": out, "plan": plan}
	for _, a := range b.fleet.Agents {
		for _, path := range []string{a.Log(), filepath.Join(a.State(), "journal.json"), filepath.Join(a.State(), "judge", "last.json")} {
			if text, err := os.ReadFile(path); err == nil {
				texts[path] = string(text)
			}
		}
		for _, name := range []string{"server.properties.last-good", "server.properties.failed", "manifest.yaml"} {
			if info, err := os.Stat(filepath.Join(a.State(), name)); err == nil && info.Mode().Perm()&0o077 != 0 {
				b.Errorf("%s of agent %d has mode %s", name, a.ID, info.Mode())
			}
		}
	}
	for name, text := range texts {
		if strings.Contains(text, secret) {
			b.Errorf("%s has the secret", name)
		}
	}
}
