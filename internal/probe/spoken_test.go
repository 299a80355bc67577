package probe

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/test/patience"
)

// said is what a client writes first.
func said(t *testing.T, speak func(net.Conn)) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() { speak(client); _ = client.Close() }()
	var first [lookBytes]byte
	n, err := server.Read(first[:])
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	return first[:n]
}

// TestSpoken: protocols by what their own libraries write first. HAProxy's `option
// httpchk` and its check-ssl are tried against an agent in test/system.
func TestSpoken(t *testing.T) {
	// ApiVersions v3 and Metadata v1 of a client named "c", as kmsg of franz-go writes them.
	const hello, metadata = "\x00\x00\x00\x13\x00\x12\x00\x03\x00\x00\x00\x01\x00\x01c\x00\x03go\x021\x00\x00",
		"\x00\x00\x00\x0f\x00\x03\x00\x01\x00\x00\x00\x01\x00\x01c\xff\xff\xff\xff"
	request := func(method string) []byte {
		return said(t, func(c net.Conn) {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://b1/readyz", http.NoBody)
			if err == nil {
				err = req.Write(c)
			}
			_ = err // the pipe ends after 64 bytes
		})
	}
	for name, c := range map[string]struct {
		first []byte
		want  Protocol
	}{
		"GET":           {request(http.MethodGet), HTTP},
		"HEAD":          {request(http.MethodHead), HTTP},
		"OPTIONS":       {[]byte("OPTIONS / HTTP/1.0\r\n\r\n"), HTTP},
		"HTTP/2":        {[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HTTP},
		"TLS":           {said(t, func(c net.Conn) { _ = tls.Client(c, &tls.Config{ServerName: "b1"}).Handshake() }), TLS},
		"Kafka":         {[]byte(hello), Kafka},
		"old Kafka":     {[]byte(metadata), Kafka},
		"nothing":       {nil, ""},
		"one byte":      {[]byte{0x16}, ""},
		"PROXY":         {[]byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), ""},
		"zeros":         {make([]byte, lookBytes), ""},
		"a long header": {bytes.Repeat([]byte("G"), lookBytes), ""},
	} {
		if got := spoken(c.first); got != c.want {
			t.Errorf("%s (%q): %q, want %q", name, c.first, got, c.want)
		}
	}
	for _, p := range Protocols() {
		if p.Advice("EXTERNAL") == "" {
			t.Errorf("%s has no advice", p)
		}
	}
}

// TestLooksAreRare: one connection a minute, and one line an hour.
func TestLooksAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l looks
		looked, told := 0, 0
		for begin := time.Now(); time.Since(begin) < 3*time.Hour; time.Sleep(500 * time.Millisecond) {
			if l.due(time.Now()) {
				looked++
				if l.news(HTTP, time.Now()) {
					told++
				}
			}
		}
		if looked != 180 || told != 3 {
			t.Errorf("looked %d times, told %d times", looked, told)
		}
	})
}

// TestHTTPAtTheProbePort: the port answers nothing to an HTTP client, and log and metrics
// say what came. The next client within the minute is not looked at; one that says
// nothing holds up nobody for longer than a look.
func TestHTTPAtTheProbePort(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{Interval: time.Hour}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(tg.Port))
	ask := func(text string) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte(text))
		if answer, _ := io.ReadAll(c); len(answer) > 0 { // until the port has closed it
			t.Errorf("the port answers %q", answer)
		}
	}
	ask("GET /health HTTP/1.1\r\nHost: b1\r\n\r\n")
	seen := p.metrics.lastSpoken.WithLabelValues("EXTERNAL", string(HTTP))
	patience.Until(t, "HTTP is seen", func() bool { return testutil.ToFloat64(seen) > 0 })
	ask("\x16\x03\x01\x00\x05hello")
	ask("")
	patience.Until(t, "all are answered", func() bool { return facts(p, "EXTERNAL").Answered == 3 })
	if v := testutil.ToFloat64(p.metrics.lastSpoken.WithLabelValues("EXTERNAL", string(TLS))); v != 0 {
		t.Error("a second connection within the minute was looked at")
	}
	var warned []string
	for _, line := range r.lines() {
		if strings.Contains(line, "the probe port is spoken to, and answers nothing") && strings.Contains(line, "protocol=HTTP") {
			warned = append(warned, line)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "let it probe by TCP, or by HTTP at the agent's HTTP port (http.listen), path /readyz/EXTERNAL") {
		t.Errorf("%q", r.lines())
	}
}
