package unit

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

const testUnit = "kafka.service"

// peer is the system bus and systemd behind it, as far as one unit is
// concerned: it speaks the real protocol over a real socket.
type peer struct {
	t    *testing.T
	addr string

	mu       sync.Mutex
	conns    []*peerConn
	matches  []string // every rule ever added
	asked    []string // every method called on systemd
	props    map[string]any
	restart  func(p *peer) (result string, err *dbus.Error) // result "" never ends
	subError bool
	isolate  *dbus.Error // the answer to a restart in mode isolate; nil: none comes
	// loadStates of other units, by their path on the bus.
	loadStates map[dbus.ObjectPath]string
	clock      any // NTPSynchronized
	// processes are those of the machine; nil is a systemd that does not tell.
	processes []processLine
}

// processLine is a process as systemd tells it: (sus).
type processLine struct {
	Group string
	PID   uint32
	Line  string
}

type peerConn struct {
	net.Conn
	write sync.Mutex
	rules []string // guarded by peer.mu
}

func newPeer(t *testing.T) *peer {
	p := &peer{t: t, addr: filepath.Join(t.TempDir(), "bus"), props: map[string]any{}}
	l, err := net.Listen("unix", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			pc := &peerConn{Conn: c}
			p.mu.Lock()
			p.conns = append(p.conns, pc)
			p.mu.Unlock()
			wg.Go(func() { p.serve(pc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.hangUp()
		wg.Wait()
	})
	return p
}

func (p *peer) dial(ctx context.Context) (*dbus.Conn, error) {
	return dial(ctx, func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Dial("unix:path="+p.addr, o...) })
}

func (p *peer) set(props map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.props = props
}

// hangUp ends every connection, as a bus does that is restarted.
func (p *peer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *peer) serve(c *peerConn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if !greet(r, c) {
		return
	}
	for {
		m, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		p.call(c, m)
	}
}

// greet is the server's side of the authentication.
func greet(r *bufio.Reader, c net.Conn) bool {
	if zero, err := r.ReadByte(); err != nil || zero != 0 {
		return false
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		answer := "ERROR\r\n"
		switch words := strings.Fields(line); {
		case words[0] == "BEGIN":
			return true
		case len(words) == 1 && words[0] == "AUTH":
			answer = "REJECTED EXTERNAL\r\n"
		case words[0] == "AUTH" || words[0] == "DATA":
			answer = "OK 0123456789abcdef0123456789abcdef\r\n"
		}
		if _, err := c.Write([]byte(answer)); err != nil {
			return false
		}
	}
}

func (p *peer) call(c *peerConn, m *dbus.Message) {
	iface, _ := m.Headers[dbus.FieldInterface].Value().(string)
	member, _ := m.Headers[dbus.FieldMember].Value().(string)
	if strings.HasPrefix(iface, "org.freedesktop.systemd1") || member == "GetAll" {
		p.mu.Lock()
		p.asked = append(p.asked, member)
		p.mu.Unlock()
	}
	switch member {
	case "Hello":
		p.reply(c, m, ":1.1")
	case "AddMatch":
		rule := fmt.Sprint(m.Body...)
		p.mu.Lock()
		p.matches = append(p.matches, rule)
		c.rules = append(c.rules, rule)
		p.mu.Unlock()
		p.reply(c, m)
	case "Subscribe":
		p.mu.Lock()
		fail := p.subError
		p.mu.Unlock()
		if fail {
			p.refuse(c, m, &dbus.Error{Name: "org.freedesktop.DBus.Error.Failed", Body: []any{"no"}})
			return
		}
		p.reply(c, m)
	case "GetAll":
		p.mu.Lock()
		props := map[string]dbus.Variant{}
		for k, v := range p.props {
			props[k] = dbus.MakeVariant(v)
		}
		p.mu.Unlock()
		p.reply(c, m, props)
	case "Get":
		path, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
		p.mu.Lock()
		clock, state := p.clock, p.loadStates[path]
		p.mu.Unlock()
		if state != "" {
			p.reply(c, m, dbus.MakeVariant(state))
			return
		}
		if clock == nil {
			p.refuse(c, m, &dbus.Error{Name: "org.freedesktop.DBus.Error.ServiceUnknown", Body: []any{"no timedated"}})
			return
		}
		p.reply(c, m, dbus.MakeVariant(clock))
	case "GetUnitProcesses":
		p.mu.Lock()
		list := p.processes
		p.mu.Unlock()
		if unit, _ := m.Body[0].(string); list == nil || unit != "-.slice" {
			p.refuse(c, m, &dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied", Body: []any{"not for you"}})
			return
		}
		p.reply(c, m, list)
	case "LoadUnit":
		name, _ := m.Body[0].(string)
		p.reply(c, m, objectPath(name))
	case "RestartUnit":
		if mode, _ := m.Body[1].(string); mode == "isolate" {
			if p.isolate != nil {
				p.refuse(c, m, p.isolate)
			}
			return
		}
		p.job(c, m)
	case "StartUnit":
		p.job(c, m)
	default:
		p.refuse(c, m, &dbus.Error{Name: "org.freedesktop.DBus.Error.UnknownMethod", Body: []any{member}})
	}
}

// job is what comes of an order for a unit.
func (p *peer) job(c *peerConn, m *dbus.Message) {
	result, err := p.restart(p)
	if err != nil {
		p.refuse(c, m, err)
		return
	}
	path := dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	p.reply(c, m, path)
	if result != "" {
		name, _ := m.Body[0].(string)
		p.signal("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved", uint32(7), path, name, result)
	}
}

func (p *peer) reply(c *peerConn, to *dbus.Message, body ...any) {
	p.send(c, &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(to.Serial()),
	}})
}

func (p *peer) refuse(c *peerConn, to *dbus.Message, err *dbus.Error) {
	p.send(c, &dbus.Message{Type: dbus.TypeError, Body: err.Body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(to.Serial()), dbus.FieldErrorName: dbus.MakeVariant(err.Name),
	}})
}

// signal reaches the connections that asked for signals of this path or interface.
func (p *peer) signal(path dbus.ObjectPath, iface, member string, body ...any) {
	p.mu.Lock()
	var to []*peerConn
	for _, c := range p.conns {
		for _, rule := range c.rules {
			if strings.Contains(rule, "'"+iface+"'") && (!strings.Contains(rule, "path=") || strings.Contains(rule, "'"+string(path)+"'")) {
				to = append(to, c)
				break
			}
		}
	}
	p.mu.Unlock()
	for _, c := range to {
		p.send(c, &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
		}})
	}
}

func (p *peer) changed(path dbus.ObjectPath) {
	p.signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged",
		"org.freedesktop.systemd1.Unit", map[string]dbus.Variant{}, []string{"ActiveState"})
}

func (p *peer) send(c *peerConn, m *dbus.Message) {
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
	}
	c.write.Lock()
	defer c.write.Unlock()
	if err := m.EncodeTo(c, binary.LittleEndian); err != nil && !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "broken pipe") {
		p.t.Errorf("the peer cannot write: %v", err)
	}
}
