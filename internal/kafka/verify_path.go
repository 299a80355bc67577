package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// customerDial bounds connecting, and the TLS handshake after it: a customer may be
	// far away, and a first packet may be lost (it is sent again after 1 s).
	customerDial = 4 * time.Second
	// silentLook is for how long a second connection says nothing, to see whether its
	// end comes without being asked.
	silentLook = time.Second
)

// path is the way to one address, as a customer has it.
type path struct {
	v    *verifier
	addr string     // as it is advertised
	row  *VerifyRow // nil for a bootstrap address
	wire *wire      // nil if there is no connection
	met  bool       // the broker itself has answered, over this connection or an earlier one
}

func (p *path) close() {
	if p.wire != nil {
		p.wire.close()
		p.wire = nil
	}
}

// stage is how far a connection came.
type stage int

const (
	atDial stage = iota
	atTLS
	atHello   // the request for the API versions
	atLogin   // SASL
	atRequest // anything after that
)

// pathError is a path that ended early.
type pathError struct {
	at   stage
	seen manner // what a second look at the address showed
	err  error
}

func (e *pathError) Error() string { return e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// manner is how an address behaves to somebody who says nothing, or who speaks
// another security protocol.
type manner int

const (
	mannerUnknown   manner = iota
	mannerEnds             // it ends each connection at once, without having been asked
	mannerAlerts           // it sends a TLS alert without having been asked
	mannerPlain            // it is Kafka without TLS
	mannerSpeaksTLS        // it is a server with TLS
)

// open connects, logs in, and asks for the brokers.
func (p *path) open(ctx context.Context) (*kmsg.MetadataResponse, Millis, error) {
	start := time.Now()
	if err := p.dial(ctx); err != nil {
		return nil, 0, err
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := over[*kmsg.MetadataResponse](ctx, p, req)
	if err != nil {
		return nil, 0, err
	}
	return resp, Millis(time.Since(start)), nil
}

// connect opens the path to a broker, and sees that it is the one.
func (p *path) connect(ctx context.Context) error {
	resp, took, err := p.open(ctx)
	if err != nil {
		return err
	}
	if is := deref(resp.ClusterID); is != p.v.cluster && is != "" {
		p.close() // no topic is made there
		return &otherClusterError{is: is, want: p.v.cluster}
	}
	if err := p.identify(ctx); err != nil {
		return err
	}
	p.row.Connected = took
	return nil
}

// identify asks the broker who it is, as Kafka 4.4 and later can be asked (KIP-1242,
// ApiVersions v5). Before a login it is not checked, so it is asked again here. A broker
// says only whether it is the one that it is taken for.
func (p *path) identify(ctx context.Context) error {
	if p.wire.versions[kmsg.ApiVersions.Int16()].MaxVersion < 5 || p.v.cluster == "" {
		return nil // the partitions that it leads will tell
	}
	others := slices.DeleteFunc(slices.Clone(p.v.named), func(id int32) bool { return id == p.row.Broker })
	for _, id := range append([]int32{p.row.Broker}, others...) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = clientID, "1"
		req.ClusterID, req.NodeID = &p.v.cluster, id
		resp, err := over[*kmsg.ApiVersionsResponse](ctx, p, req)
		if err != nil {
			return err
		}
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case errors.Is(err, kerr.RebootstrapRequired):
			continue
		case err != nil:
			return err
		case id == p.row.Broker:
			p.met = true
			return nil
		}
		return p.other(id)
	}
	return p.other(-1)
}

// other is the error of a path to another broker; -1 is one that is not known.
func (p *path) other(id int32) error {
	e := &OtherBrokerError{Addr: p.addr, Want: p.row.Broker, Is: id}
	if p.met {
		return &poolError{e}
	}
	return e
}

// poolError is an address at which another broker answers over one connection than over
// another one.
type poolError struct{ *OtherBrokerError }

// again connects once more, to see that it is the same broker over each connection.
func (p *path) again(ctx context.Context) error {
	p.close()
	if err := p.dial(ctx); err != nil {
		return err
	}
	return p.identify(ctx)
}

// over sends a request on the path, which it opens if need be.
func over[R kmsg.Response](ctx context.Context, p *path, req kmsg.Request) (R, error) {
	var none R
	if p.wire == nil {
		if err := p.dial(ctx); err != nil {
			return none, err
		}
	}
	resp, err := ask[R](ctx, p.wire, req)
	if err != nil && !kafkaError(err) {
		p.close()
		return none, &pathError{atRequest, mannerUnknown, err}
	}
	return resp, err
}

// dial connects and logs in.
func (p *path) dial(ctx context.Context) error {
	at := atDial
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := p.tcp(ctx, network, addr)
		if err != nil || !p.v.o.Login.usesTLS() {
			at = atHello
			if err != nil {
				at = atDial
			}
			return conn, err
		}
		at = atTLS
		host, _, _ := net.SplitHostPort(addr)
		cfg, err := p.v.o.Login.tlsConfig(host)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		secure, err := handshake(ctx, conn, cfg)
		if err == nil {
			at = atHello
		}
		return secure, err
	}
	w, err := connect(ctx, dial, p.addr, nil)
	if err == nil {
		at = atLogin
		if err = w.login(ctx, p.v.mech); err != nil {
			w.close()
		}
	}
	if err == nil {
		p.wire = w
		return nil
	}
	e := &pathError{at: at, err: err}
	if at == atTLS || at == atHello && !timedOut(err) {
		e.seen = p.look(ctx)
	}
	return e
}

func handshake(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, customerDial)
	defer cancel()
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// tcp connects to where the address leads.
func (p *path) tcp(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, customerDial)
	defer cancel()
	base := p.v.o.Dial
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	return base(ctx, network, p.v.o.mapped(addr))
}

// look connects again, to see what is at an address that is no listener of the kind
// that was expected: first silently, then with the other kind of protocol.
func (p *path) look(ctx context.Context) manner {
	conn, err := p.tcp(ctx, "tcp", p.addr)
	if err != nil {
		return mannerUnknown
	}
	_ = conn.SetReadDeadline(time.Now().Add(silentLook))
	var first [1]byte
	n, err := conn.Read(first[:])
	_ = conn.Close()
	late, timed := errors.AsType[net.Error](err)
	switch {
	case n > 0 && first[0] == tlsAlert:
		return mannerAlerts
	case n > 0:
		return mannerUnknown
	case err != nil && (!timed || !late.Timeout()):
		return mannerEnds
	}
	if p.v.o.Login.usesTLS() {
		if w, err := connect(ctx, p.tcp, p.addr, nil); err == nil {
			w.close()
			return mannerPlain
		}
		return mannerUnknown
	}
	if conn, err = p.tcp(ctx, "tcp", p.addr); err != nil {
		return mannerUnknown
	}
	cfg := &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // only that it speaks TLS is wanted; nothing is sent over it
		MinVersion:         tls.VersionTLS12,
	}
	secure, err := handshake(ctx, conn, cfg)
	if err != nil {
		return mannerUnknown
	}
	_ = secure.Close()
	return mannerSpeaksTLS
}

// ended is true for a connection that the other side has ended.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}
