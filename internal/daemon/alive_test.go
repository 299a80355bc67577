package daemon

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// TestAnnounce: the broker waits for its file, and never for long.
func TestAnnounce(t *testing.T) {
	for _, c := range []struct {
		name                string
		settles, end, ready time.Duration // 0 is never
	}{
		{"settled", time.Second, time.Minute, time.Second},
		{"never settled", 0, time.Minute, readyWithin},
		{"settled late", 2 * readyWithin, time.Minute, readyWithin},
		{"ended before", 0, time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.end)
				defer cancel()
				settled := make(chan struct{})
				if c.settles > 0 {
					time.AfterFunc(c.settles, func() { close(settled) })
				}
				begun := time.Now()
				var ready []time.Duration
				announce(ctx, settled, func() error { ready = append(ready, time.Since(begun)); return nil }, slog.New(slog.DiscardHandler))
				var want []time.Duration
				if c.ready > 0 {
					want = []time.Duration{c.ready}
				}
				if !slices.Equal(ready, want) {
					t.Errorf("ready after %v, want %v", ready, want)
				}
				if took := time.Since(begun); took != c.end {
					t.Errorf("ended after %s, want %s", took, c.end)
				}
			})
		})
	}
}

// TestBeat: a beat feeds the watchdog, at most once a second, and shows a new reason in one line.
func TestBeat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	n, err := unit.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	p, wrong := &pulse{}, &notes{}
	beat := newBeat(p, wrong, n, slog.New(slog.DiscardHandler))
	idle := restart.Status{Phase: restart.PhaseIdle, Reason: *restart.NewReason(restart.CodeInSync, "runs what\nthe manifest says")}
	soaking := restart.Status{Phase: restart.PhaseSoaking, Reason: *restart.NewReason(restart.CodeSoaking, "healthy")}
	for _, st := range []restart.Status{idle, idle, soaking} {
		beat(st)
	}
	wrong.set(noteHTTP, "no port")
	beat(soaking)
	soaking.ManifestFault = "line 3: no number"
	beat(soaking)
	refused := restart.Status{Phase: restart.PhaseRefused, Reason: *restart.NewReason(restart.CodeRefused, "line 3: no number"), ManifestFault: "line 3: no number"}
	beat(refused)
	if p.age() > time.Minute {
		t.Errorf("the last beat was %s ago", p.age())
	}
	if err := n.Stopping(); err != nil {
		t.Fatal(err)
	}
	var told []string
	b := make([]byte, 4096)
	for len(told) == 0 || told[len(told)-1] != "STOPPING=1" {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, strings.TrimSuffix(string(b[:n]), "\n"))
	}
	// On a machine so slow that the three beats take a second, there is one more.
	told = slices.Compact(told)
	want := []string{
		"STATUS=idle: runs what the manifest says", "WATCHDOG=1", "STATUS=soaking: healthy", "STATUS=soaking: healthy [no port]",
		"STATUS=soaking: healthy [the manifest file is not in force: line 3: no number] [no port]", "STATUS=refused: line 3: no number [no port]", "STOPPING=1",
	}
	if got := slices.DeleteFunc(slices.Clone(told), func(s string) bool { return s == "WATCHDOG=1" }); !slices.Equal(got, append(want[:1:1], want[2:]...)) || told[1] != want[1] {
		t.Errorf("told %q, want %q", told, want)
	}
	if fed := len(told) - 6; fed < 1 || fed > 3 {
		t.Errorf("fed %d times", fed)
	}
}

// TestAwaitFiles: the agent waits for Kafka's file, tells each reason once, and beats.
func TestAwaitFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "server.properties")
		var told []string
		beats := 0
		got := make(chan host.Node, 1)
		go func() {
			n, err := awaitFiles(t.Context(), &settings.Settings{ServerProperties: path}, func() { beats++ }, func(why error) { told = append(told, why.Error()) })
			if err != nil {
				t.Error(err)
			}
			got <- n
		}()
		time.Sleep(time.Minute + time.Second) // between two looks
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		write("process.roles=controller\nnode.id=1\n")
		write("process.roles=broker\nnode.id=1\ncontroller.quorum.voters=2@127.0.0.1:2\ncontroller.listener.names=CONTROLLER\n" +
			"listeners=PLAINTEXT://127.0.0.1:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n")
		if n := <-got; n.BrokerID != 1 {
			t.Errorf("the broker is %+v", n)
		}
		if len(told) != 2 || !strings.Contains(told[0], "no such file or directory; name the broker's file as server_properties") || beats < 20 {
			t.Errorf("%d beats, told %q", beats, told)
		}
	})
}
