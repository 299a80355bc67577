package haproxy

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestValid: HAProxy takes the file that internal/render holds, as it is.
func TestValid(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program(t), "-c", "-f", "../../internal/render/testdata/haproxy/haproxy.cfg").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Configuration file is valid") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestMoved: what a new file changes is in force after a reload with saved states. HAProxy itself keeps the ports of a
// server that has its old name.
func TestMoved(t *testing.T) {
	for _, c := range []struct {
		name  string
		moved func(*bed)
		host  string // of broker 1 afterwards
		edits []string
		want  string
	}{
		{"bind port", func(b *bed) { b.bind++ }, "127.0.1.11", nil, "new"},
		{"probe port", func(b *bed) { b.probe++ }, "127.0.1.11", nil, "new"},
		{"host", func(*bed) {}, "127.0.1.21", nil, "new"},
		{"bind port without it in the name", func(b *bed) { b.bind++ }, "127.0.1.11", []string{"name"}, "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bed, lb := newBed(t), newBalancer(t)
			file := func() string {
				text := written(t, strings.ReplaceAll(bed.manifest(false), "127.0.1.11", bed.host))
				if c.edits != nil {
					text = regexp.MustCompile(`server b(\d+)-\S+`).ReplaceAllString(text, "server b$1")
				}
				return text
			}
			bed.host = "127.0.1.11"
			serve := func(says string) (probe, traffic *port) {
				return listen(t, fmt.Sprintf("%s:%d", bed.host, bed.probe), "probe"), listen(t, fmt.Sprintf("%s:%d", bed.host, bed.bind), says)
			}
			probe, traffic := serve("old")
			lb.put(file())
			lb.start()
			lb.until("broker 1 serves", func() bool { return answer(bed.lead[1]) == "old" })
			c.moved(bed)
			bed.host = c.host
			if c.want == "new" { // the old ones are closed, so only the new ones can be asked
				_ = probe.Close()
				_ = traffic.Close()
				serve("new")
			}
			lb.put(file())
			lb.reload(true)
			got := "" // while the old port was closed already a check may have found the server down
			lb.until("somebody answers", func() bool { got = answer(bed.lead[1]); return got != "" })
			if got != c.want {
				t.Errorf("%q answers, not %q", got, c.want)
			}
		})
	}
}
