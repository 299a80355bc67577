package probe

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"
)

// What comes to a probe port is looked at so rarely and so briefly that nobody can make
// the agent work by it: one connection a minute of each listener, for 100 ms, 64 bytes.
// While it is looked at, others wait in the kernel, which has answered them already.
const (
	lookEvery = time.Minute
	lookFor   = 100 * time.Millisecond
	lookBytes = 64
)

// Protocol is what somebody spoke to a probe port, as it is in the metrics.
type Protocol string

// The protocols that are recognized.
const (
	HTTP  Protocol = "http"
	TLS   Protocol = "tls"
	Kafka Protocol = "kafka"
)

// Protocols are all that are recognized.
func Protocols() []Protocol { return []Protocol{HTTP, TLS, Kafka} }

// Advice says what is wrong, and what to do, where a protocol is spoken to the probe
// port of a listener.
func (p Protocol) Advice(listener string) string {
	switch p {
	case HTTP:
		return "the port answers nothing, so the load balancer takes this broker for down: let it probe by TCP, or by " +
			"HTTP at the agent's HTTP port (http.listen), path /readyz/" + listener
	case TLS:
		return "the port answers nothing: if it is a health check by HTTPS, the load balancer takes this broker for down; " +
			"let it probe by TCP. If clients are led here, correct the load balancer's rule"
	case Kafka:
		return "clients are led here, and no Kafka answers: let the load balancer's rule lead to the port at which Kafka " +
			"has " + listener
	}
	return ""
}

// String is the protocol's own name.
func (p Protocol) String() string {
	if p == Kafka {
		return "Kafka's protocol"
	}
	return strings.ToUpper(string(p))
}

// spoken recognizes a protocol by its first bytes; empty if it is none of those known.
func spoken(first []byte) Protocol {
	for _, begin := range []string{"GET ", "HEAD ", "OPTIONS ", "POST ", "PUT ", "CONNECT ", "PRI * HTTP/2"} {
		if strings.HasPrefix(string(first), begin) {
			return HTTP
		}
	}
	if len(first) >= 3 && first[0] == 0x16 && first[1] == 3 { // a handshake record (RFC 8446, section 5.1)
		return TLS
	}
	if len(first) >= 8 {
		size, key := binary.BigEndian.Uint32(first), binary.BigEndian.Uint16(first[4:])
		// A client's first request: ApiVersions, or of an old one Metadata or SaslHandshake.
		if size >= 8 && size < 1<<16 && first[6] == 0 && (key == 18 || key == 3 || key == 17) {
			return Kafka
		}
	}
	return ""
}

// looks remembers when a connection was looked at last, and what was logged about it.
type looks struct {
	mu   sync.Mutex
	last time.Time
	told map[Protocol]time.Time
}

// due is true at most once in lookEvery.
func (l *looks) due(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < lookEvery {
		return false
	}
	l.last = now
	return true
}

// tellEvery is how often the log repeats what is spoken to a port.
const tellEvery = time.Hour

// news is true if a protocol is to be logged.
func (l *looks) news(p Protocol, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.told[p]; ok && now.Sub(at) < tellEvery {
		return false
	}
	if l.told == nil {
		l.told = map[Protocol]time.Time{}
	}
	l.told[p] = now
	return true
}

// look reads what a connection says first.
func look(conn net.Conn) Protocol {
	if conn.SetReadDeadline(time.Now().Add(lookFor)) != nil {
		return ""
	}
	var first [lookBytes]byte
	n, _ := conn.Read(first[:]) // nothing in time is nothing said
	return spoken(first[:n])
}

// looked is called with each connection that was answered, before it is closed.
func (l *listener) looked(conn net.Conn) {
	now := time.Now()
	if !l.looks.due(now) {
		return
	}
	p := look(conn)
	if p == "" {
		return
	}
	l.prober.metrics.spoken(l.name, p, now)
	if l.looks.news(p, now) {
		from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
		l.prober.o.Logger.Warn("the probe port is spoken to, and answers nothing", "listener", l.name,
			"protocol", p.String(), "port", port, "from", from, "advice", p.Advice(l.name))
	}
}
