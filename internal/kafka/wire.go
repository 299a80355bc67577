package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

const (
	// clientID names the agent in the brokers' request logs and metrics.
	clientID = "kpls-agent"
	// answerTimeout bounds the wait for one answer.
	answerTimeout = 3 * time.Second
	// answerLimit bounds its size, in bytes; only small questions are asked over a wire.
	answerLimit = 16 << 20
)

// A listener with TLS answers what is no TLS with an alert: its first bytes (RFC 8446,
// section 5.1). As the size of an answer they would be 352 MiB.
const tlsAlert, tlsMajor = 0x15, 0x03

// wire is one connection to one address, for questions that must be answered
// by whoever listens there: the cluster's own idea of its addresses, which the
// client of franz-go goes by, is what is in question. One request at a time;
// any error spoils it.
type wire struct {
	conn     net.Conn
	versions map[int16]kmsg.ApiVersionsResponseApiKey
	release  string // of Kafka, at the other end; empty if unknown
	next     int32  // correlation id
	answered int    // requests after the API versions
	m        *Metrics
}

// connect dials and asks for the API versions, which brokers answer before any login.
func connect(ctx context.Context, dial DialFunc, addr string, m *Metrics) (*wire, error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn, versions: map[int16]kmsg.ApiVersionsResponseApiKey{}, m: m}
	resp, err := w.hello(ctx)
	if err != nil {
		settled(conn, false, err)
		_ = conn.Close()
		return nil, fmt.Errorf("ask %s for its API versions: %w", addr, err)
	}
	for _, k := range resp.ApiKeys {
		w.versions[k.ApiKey] = k
	}
	w.release = release(resp)
	return w, nil
}

// hello asks for the API versions and features.
func (w *wire) hello(ctx context.Context) (*kmsg.ApiVersionsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = clientID, "1"
	req.Version = 3 // all brokers since 2.4 know it
	resp, err := roundTrip[*kmsg.ApiVersionsResponse](ctx, w, req)
	if err != nil {
		return nil, err
	}
	return resp, kerr.ErrorForCode(resp.ErrorCode)
}

func (w *wire) close() { _ = w.conn.Close() }

// refusedError is a login that failed by what was said, not by the network.
type refusedError struct {
	mechanism string
	err       error
}

func (e *refusedError) Error() string { return fmt.Sprintf("log in with %s: %v", e.mechanism, e.err) }
func (e *refusedError) Unwrap() error { return e.err }

// login authenticates the connection; a nil mechanism does nothing.
func (w *wire) login(ctx context.Context, mech sasl.Mechanism) (err error) {
	if mech == nil {
		return nil
	}
	defer func() { settled(w.conn, true, err) }()
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Mechanism = mech.Name()
	shake, err := ask[*kmsg.SASLHandshakeResponse](ctx, w, hello)
	if err != nil {
		return fmt.Errorf("log in with %s: %w", mech.Name(), err)
	}
	if err := kerr.ErrorForCode(shake.ErrorCode); err != nil {
		return &refusedError{mech.Name(), err}
	}
	session, next, err := mech.Authenticate(ctx, w.conn.RemoteAddr().String())
	if err != nil {
		return &refusedError{mech.Name(), err}
	}
	for done := false; !done || len(next) > 0; {
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.SASLAuthBytes = next
		resp, err := ask[*kmsg.SASLAuthenticateResponse](ctx, w, req)
		if _, ended := errors.AsType[*hangUpError](err); ended {
			return &refusedError{mech.Name(), err} // such as of a token that is none
		}
		if err != nil {
			return fmt.Errorf("log in with %s: %w", mech.Name(), err)
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		if next = nil; err == nil && !done {
			done, next, err = session.Challenge(resp.SASLAuthBytes)
		}
		if err != nil {
			return &refusedError{mech.Name(), err}
		}
	}
	return nil
}

// ask sends a request in the newest version that both sides know.
func ask[R kmsg.Response](ctx context.Context, w *wire, req kmsg.Request) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return await[R](ctx, w, req)
}

// await does the same and waits for the answer until ctx ends.
func await[R kmsg.Response](ctx context.Context, w *wire, req kmsg.Request) (R, error) {
	var none R
	k, ok := w.versions[req.Key()]
	version := min(req.MaxVersion(), k.MaxVersion)
	if !ok || version < k.MinVersion {
		return none, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), kerr.UnsupportedVersion)
	}
	req.SetVersion(version)
	return roundTrip[R](ctx, w, req)
}

func roundTrip[R kmsg.Response](ctx context.Context, w *wire, req kmsg.Request) (R, error) {
	var none R
	body, err := w.exchange(ctx, req)
	if err != nil {
		if ctx.Err() != nil { // the deadline of the connection only carries the context's out
			err = ctx.Err()
		}
		return none, w.hungUp(req, err)
	}
	if !isHello(req) {
		w.answered++
	}
	resp := req.ResponseKind()
	reader := kbin.Reader{Src: body}
	if resp.IsFlexible() && resp.Key() != 18 { // KIP-511: the header of ApiVersions is never flexible
		kmsg.SkipTags(&reader)
	}
	if err := resp.ReadFrom(reader.Src); err != nil {
		return none, fmt.Errorf("read answer to %s: %w", kmsg.NameForKey(req.Key()), err)
	}
	typed, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("read answer to %s: it is of type %T", kmsg.NameForKey(req.Key()), resp)
	}
	return typed, nil
}

func isHello(req kmsg.Request) bool { return req.Key() == kmsg.ApiVersions.Int16() }

// hungUp says at which request the broker ended the connection, where that tells
// that the listener has another security protocol. A broker that shuts down ends it
// just so.
func (w *wire) hungUp(req kmsg.Request, err error) error {
	switch end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
	case !end:
		return err
	case isHello(req):
		return &hangUpError{atFirstBytes, "the listener may expect TLS: " + protocols}
	case req.Key() == kmsg.SASLHandshake.Int16(), req.Key() == kmsg.SASLAuthenticate.Int16():
		return &hangUpError{"at the login", "its log says what it has against it"}
	case w.answered == 0:
		return &hangUpError{atFirstRequest, "the listener expects a login: " + protocols}
	}
	return err
}

// exchange writes a request and returns the body of its answer, without correlation id.
func (w *wire) exchange(ctx context.Context, req kmsg.Request) ([]byte, error) {
	deadline, _ := ctx.Deadline()
	if err := w.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	w.next++
	w.m.sent(req.Key())
	out := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, w.next)
	if _, err := w.conn.Write(out); err != nil {
		return nil, err
	}
	var head [8]byte
	n, err := io.ReadFull(w.conn, head[:])
	if n >= 2 && head[0] == tlsAlert && head[1] == tlsMajor {
		return nil, &otherProtocolError{errSpeaksTLS}
	}
	if n >= 4 && string(head[:4]) == "HTTP" {
		return nil, &otherProtocolError{errSpeaksHTTP}
	}
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size < 4 || size > answerLimit {
		return nil, &otherProtocolError{
			fmt.Errorf(
				"an answer of %d bytes is announced: this is not a Kafka listener, or not one of this security protocol",
				size),
		}
	}
	if int32(binary.BigEndian.Uint32(head[4:])) != w.next { //nolint:gosec // two's complement is meant
		return nil, errors.New("the answer belongs to another question: this is not a Kafka listener")
	}
	body := make([]byte, size-4)
	_, err = io.ReadFull(w.conn, body)
	return body, err
}
