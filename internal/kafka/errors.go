package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// deniedError is a refusal by the cluster's authorizer.
type deniedError struct {
	err error
	acl string // that would have allowed it: operation and resource
}

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// denied is true for a refusal by the cluster's authorizer.
func denied(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// moved is true for the answers of a broker that is not the leader that the
// cluster's metadata named: it is another one, or one of another epoch.
func moved(err error) bool {
	return errors.Is(err, kerr.NotLeaderForPartition) || errors.Is(err, kerr.FencedLeaderEpoch) ||
		errors.Is(err, kerr.UnknownLeaderEpoch)
}

// needs says which ACL a request needs, if that is why it failed.
func needs(err error, acl string) error {
	if denied(err) {
		return &deniedError{err, acl}
	}
	return err
}

// The ACLs that no error of a topic names.
const (
	seesCluster = "Describe on the cluster"
	seesBrokers = "DescribeConfigs on the cluster"
	seesTopics  = "Describe on topic *"
	readsTopics = "DescribeConfigs on topic *"
)

// explain adds to an error of Kafka, TLS or the network what can be done about it.
func explain(err error) error {
	if advice := advise(err); advice != "" {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

// errSpeaksTLS is a listener with TLS that we speak to without.
var errSpeaksTLS = errors.New("the answer is one of TLS")

// errSpeaksHTTP is a web server that was taken for a listener.
var errSpeaksHTTP = errors.New("the answer is one of HTTP: this is a web server")

// Where a broker ended a connection, if that tells something.
const (
	atFirstBytes   = "at the first bytes"
	atFirstRequest = "at the first request"
)

// hangUpError is a connection that the broker ended instead of an answer.
type hangUpError struct{ at, advice string }

func (e *hangUpError) Error() string { return "the broker ended the connection " + e.at }
func (e *hangUpError) Unwrap() error { return io.EOF }

// OtherBrokerError is an address at which another broker answers than the one that
// is looked for.
type OtherBrokerError struct {
	Addr string
	Want int32
	Is   int32 // -1 if it does not say
}

// Error implements error.
func (e *OtherBrokerError) Error() string {
	return fmt.Sprintf("at %s answers %s, and not broker %d", e.Addr, e.who(), e.Want)
}

func (e *OtherBrokerError) who() string {
	if e.Is < 0 {
		return "another broker"
	}
	return fmt.Sprintf("broker %d", e.Is)
}

// ownID is what a broker says of itself to a question for another one (ConfigHelper).
var ownID = regexp.MustCompile(`[Ee]xpected (\d+)`)

// otherBroker makes the error of a broker that was asked by a name that is not its own.
func otherBroker(message *string) *OtherBrokerError {
	e := &OtherBrokerError{Is: -1}
	if message == nil {
		return e
	}
	if m := ownID.FindStringSubmatch(*message); m != nil {
		if id, err := strconv.ParseInt(m[1], 10, 32); err == nil {
			e.Is = int32(id)
		}
	}
	return e
}

// protocols is what to do where a listener has another security protocol.
const protocols = "correct the security protocol in the agent's settings; listener.security.protocol.map of that broker has the listener's"

// alertRecord is in franz-go's error where a listener with TLS is spoken to without.
const alertRecord = "tls alert record"

// remoteAlert is the Op with which crypto/tls reports an alert of the other side.
const remoteAlert = "remote error"

// advise is a table: what to do for each kind of error.
//
//nolint:gocyclo // a row each
func advise(err error) string {
	var (
		lacks     *deniedError
		hangUp    *kgo.ErrFirstReadEOF
		trust     *tls.CertificateVerificationError
		expired   *expiredError
		handshake *handshakeError
		network   *net.OpError
		noZK      *noZooKeeperError

		noListener *noListenerError
		token      *tokenError
		ended      *hangUpError
		early      *endedError
		held       *heldError
	)
	switch {
	case err == nil, errors.As(err, &held): // which says it itself
		return ""
	case errors.As(err, &token):
		return "see in the broker's log what it misses: issuer, audience, scope and life of the token must be those that its sasl.oauthbearer settings expect"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the user name or the password is wrong: correct the login in the agent's settings, or with OAUTHBEARER what gives the token"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the listener does not offer this SASL mechanism: correct it in the agent's settings"
	case errors.Is(err, kerr.IllegalSaslState):
		return "the listener does not expect a login: " + protocols
	case errors.Is(err, errSpeaksTLS), strings.Contains(err.Error(), alertRecord):
		return "the listener speaks TLS, and the agent's settings say that it does not: " + protocols
	case errors.As(err, &ended):
		return "unless the broker is being stopped, " + ended.advice
	case errors.As(err, &noListener), errors.Is(err, kerr.ListenerNotFound):
		return "give every broker this listener, in listeners and advertised.listeners, or name another one as kafka.listener"
	case tooFewBrokers(err):
		return cordonAdvice
	case errors.As(err, &noZK):
		return "see that ZooKeeper runs and that the broker reaches it"
	case errors.As(err, &lacks):
		return "give the agent's Kafka user the ACL " + lacks.acl
	case denied(err):
		return "give the Kafka user the ACL that the request needs"
	case errors.As(err, &early):
		return "unless the broker is being stopped, its log says what it has against the agent's login or certificate"
	case errors.As(err, &trust):
		return certificateAdvice(trust.Err, "the agent's settings")
	case errors.As(err, &expired):
		return "renew it; it is read again for each connection, without a restart"
	case errors.As(err, &network) && network.Op == remoteAlert:
		return "the broker does not accept our side of TLS: give the agent a certificate that is valid and signed by one of the broker's ssl.truststore"
	case errors.As(err, &handshake):
		return "the listener might not speak TLS: " + protocols
	case errors.As(err, &hangUp):
		return "the listener may expect TLS or a login: " + protocols
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer came in time: check that the broker runs and is not overloaded"
	case errors.As(err, &network):
		return "check that the broker runs, and that this is the address of the listener that the agent uses"
	}
	return ""
}

// NobodyListens is true where the kernel refused the connection to a broker's port: no process has opened it.
func NobodyListens(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// LoginRefused is true if a broker did not let us in.
func LoginRefused(err error) bool {
	if err == nil {
		return false
	}
	if _, held := errors.AsType[*heldError](err); held {
		return true
	}
	return isRefusal(err) || isBroken(err)
}

// certificateAdvice is about a broker's certificate; trusts is what says whom we trust.
func certificateAdvice(err error, trusts string) string {
	var (
		name    x509.HostnameError
		signer  x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return "give the broker a certificate with this name among its subjectAltNames"
	case errors.As(err, &signer):
		return "add the certificate of who signed it to the CA file or trust store of " + trusts + ", or give the broker one that is signed by an authority there"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the broker's certificate, and see that the clocks of both machines are right"
	case errors.As(err, &invalid):
		return "give the broker another certificate, for use by servers"
	}
	return ""
}
