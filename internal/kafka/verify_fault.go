package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// VerifyFault is one thing that keeps a customer from the cluster. The codes and the
// values of Where are for programs, and stay.
type VerifyFault struct {
	Code  string `json:"code"`
	Text  string `json:"text"`  // what the customer sees
	Where string `json:"where"` // what has to be changed, one of the where constants
	ToDo  string `json:"to_do"` // what to do there
}

// The codes of faults.
const (
	faultUsage         = "usage"
	faultLogin         = "login"
	faultBootstrap     = "bootstrap"
	faultNotInManifest = "not_in_manifest"
	faultNotNamed      = "not_named"
	faultAddress       = "address_differs"
	faultWrongBroker   = "wrong_broker"
	faultWrongCluster  = "wrong_cluster"
	faultLeadsNothing  = "leads_nothing"
	faultDNS           = "name_not_resolved"
	faultRefused       = "refused"
	faultNoAnswer      = "no_answer"
	faultUnreachable   = "unreachable"
	faultProbePort     = "probe_port"
	faultEnds          = "connection_ended"
	faultProxy         = "proxy_protocol"
	faultTLS           = "speaks_tls"
	faultNoTLS         = "speaks_no_tls"
	faultHTTP          = "speaks_http"
	faultCertificate   = "certificate"
	faultNeedsLogin    = "needs_login"
	faultNoLogin       = "takes_no_login"
	faultTopic         = "topic"
	faultRights        = "rights"
	faultLeader        = "leader_address"
	faultOther         = "other"
)

// Where something has to be changed.
const (
	whereCommand  = "command_line"  // the flags of verify
	whereManifest = "manifest"      // the manifest
	whereBroker   = "broker"        // the broker or its agent
	whereBalancer = "load_balancer" // rules, pools and probes, and firewalls on the way
	whereDNS      = "name_server"   // the name server of the customer's network
	whereCustomer = "customer"      // the customer's login or trust store
)

const loginAdvice = "correct --client-properties, or --user, --mechanism, --password-file and --ca-file"

// differs is the fault of a broker that does not advertise what is wanted.
func (v *verifier) differs(r VerifyRow) *VerifyFault {
	switch r.Got {
	case r.Want:
		return nil
	case "":
		return &VerifyFault{
			faultNotNamed, "the cluster does not name the broker on this listener, so no customer can reach it",
			whereBroker, "it is down, or was not restarted with the listener: see kpls-agent status",
		}
	}
	f := &VerifyFault{
		faultAddress, fmt.Sprintf("customers are sent to %s, and the manifest says %s", r.Got, r.Want), whereBroker,
		"the broker was not restarted with this manifest (see kpls-agent status), or the agents have another one " +
			"(then name theirs with --manifest), or --bootstrap leads to another listener (then give an advertised address)",
	}
	for _, addr := range v.o.Bootstrap {
		if other := v.otherListener(addr); slices.Contains(v.o.Others[other], r.Got) {
			f.Where, f.ToDo = whereCommand, fmt.Sprintf("--bootstrap %s leads to %s: add --listener %s, or give an "+
				"advertised address of %s%s", addr, other, other, v.o.Listener, such(v.advertised(), ", such as "))
		}
	}
	return f
}

// otherClusterError is an address at which another cluster answers.
type otherClusterError struct{ is, want string }

func (e *otherClusterError) Error() string {
	return fmt.Sprintf("it leads to a broker of the cluster %s, and not of %s", e.is, e.want)
}

// fault says what a customer sees at an address, and where what has to be changed.
func (v *verifier) fault(addr string, err error) *VerifyFault {
	var (
		given        *VerifyFault
		pool         *poolError
		otherBroker  *OtherBrokerError
		otherCluster *otherClusterError
		broken       *pathError
	)
	host, port, _ := net.SplitHostPort(addr)
	rule := fmt.Sprintf("correct the load balancer's rule for port %s of %s, or the pool of that rule", port, host)
	switch {
	case errors.As(err, &given):
		return given
	case errors.As(err, &pool):
		return &VerifyFault{
			faultWrongBroker, fmt.Sprintf("port %s leads to broker %d, and over another connection to %s", port, pool.Want,
				pool.who()), whereBalancer,
			fmt.Sprintf("its pool has more than one broker: let port %s of %s lead to broker %d alone", port, host, pool.Want),
		}
	case errors.As(err, &otherBroker):
		who := otherBroker.who()
		return &VerifyFault{
			faultWrongBroker, fmt.Sprintf("port %s leads to %s, and not to broker %d: %s", port, who, otherBroker.Want,
				"customers' requests for the one reach the other, which refuses them"), whereBalancer,
			fmt.Sprintf("the rule or the pool is swapped: let port %s of %s lead to broker %d alone", port, host,
				otherBroker.Want),
		}
	case errors.As(err, &otherCluster):
		return &VerifyFault{
			faultWrongCluster, fmt.Sprintf("port %s leads to a broker of another cluster: its id is %s, and that at %s is %s",
				port, otherCluster.is, v.o.Bootstrap[0], otherCluster.want), whereBalancer, rule,
		}
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return &VerifyFault{
			faultWrongCluster, fmt.Sprintf("what answers at %s does not have the topic that was made for this check at %s: "+
				"one of these ports leads to a broker of another cluster that has the same id (%s), or the broker does not hear its "+
				"controllers", v.dialled(addr), v.madeAt, v.cluster), whereBalancer, "see with kpls-agent status whether the brokers " +
				"are up; if they are, " + rule + ". Clusters that were formatted with one id have it in cluster.id of meta.properties",
		}
	case errors.Is(err, kerr.NotLeaderForPartition):
		return &VerifyFault{
			faultLeadsNothing, fmt.Sprintf("what answers at %s leads none of the partitions that were made for this check",
				v.dialled(addr)), whereBroker, "the broker is fenced, or lost its leadership just now: see kpls-agent status, " +
				"and try again",
		}
	case errors.As(err, &broken):
		switch broken.at {
		case atDial:
			return v.undialled(addr, broken.err)
		case atTLS, atHello:
			return v.unheard(addr, rule, broken)
		case atLogin, atRequest:
		}
	}
	return v.refused(addr, err)
}

// dialled names an address and, where --map leads it elsewhere, where to.
func (v *verifier) dialled(addr string) string {
	if to := v.o.mapped(addr); to != addr {
		return addr + " (here " + to + ", by --map)"
	}
	return addr
}

// undialled is about an address to which no connection can be made.
func (v *verifier) undialled(addr string, err error) *VerifyFault {
	_, port, _ := net.SplitHostPort(addr)
	const probes = "if `kpls-agent status` shows this broker's probe as closed, or its agent as stopped, silent or " +
		"none, see its reason there first; else see that the load balancer has a rule for port "
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return &VerifyFault{
			faultDNS, fmt.Sprintf("the name %s is not known here", name.Name), whereDNS, v.dnsAdvice(addr),
		}
	case errors.As(err, &name):
		return &VerifyFault{
			faultDNS, fmt.Sprintf("the name %s cannot be looked up here: %s", name.Name, name.Err), whereDNS,
			v.dnsAdvice(addr),
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		f := &VerifyFault{
			faultRefused, fmt.Sprintf("the connection to %s is refused: nothing listens there, or the load balancer has "+
				"no broker for it", v.dialled(addr)), whereBalancer, probes + port,
		}
		if v.ownPort(addr) {
			f.Where = whereCommand
			f.ToDo = "this is the port of " + v.o.Listener + " on the brokers themselves; " + v.instead()
			return f
		}
		return v.mistyped(addr, f)
	case timedOut(err):
		return v.mistyped(addr, &VerifyFault{
			faultNoAnswer, fmt.Sprintf("nothing answers a connection to %s: a firewall drops it, or the load balancer has "+
				"no broker for it", v.dialled(addr)), whereBalancer,
			probes + port + ", and that firewalls let it through, also from the load balancer to the broker",
		})
	}
	return &VerifyFault{
		faultUnreachable, fmt.Sprintf("%s cannot be reached: %v", v.dialled(addr), err), whereBalancer,
		"correct the route or the address",
	}
}

func timedOut(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return ok && network.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// whereDNS has the --map that stands in for the names' DNS.
func (v *verifier) dnsAdvice(addr string) string {
	host, _, _ := net.SplitHostPort(v.o.mapped(addr))
	to := v.entry
	if to == "" || to == host {
		to = "ADDRESS_OF_THE_LOAD_BALANCER"
	}
	return fmt.Sprintf("where customers are, their name server must have it; if only this machine does not know it, "+
		"give verify --map '%s=%s'", v.pattern(host), to)
}

// pattern is the wildcard of --map that covers a name and its siblings in the manifest.
func (v *verifier) pattern(host string) string {
	_, domain, ok := strings.Cut(host, ".")
	siblings := 0
	for _, want := range v.o.Want {
		name, _, _ := net.SplitHostPort(want)
		if _, d, _ := strings.Cut(name, "."); d == domain && name != host {
			siblings++
		}
	}
	if !ok || siblings == 0 {
		return host
	}
	return "*." + domain
}

// unheard is about an address at which something listens that is not the listener.
func (v *verifier) unheard(addr, rule string, e *pathError) *VerifyFault {
	host, _, _ := net.SplitHostPort(addr)
	at := v.dialled(addr)
	var trust *tls.CertificateVerificationError
	var network *net.OpError
	switch {
	case errors.As(e.err, &trust):
		f := &VerifyFault{
			faultCertificate, fmt.Sprintf("customers that verify certificates refuse the one at %s: %v", at, trust.Err),
			whereBroker, certificateAdvice(trust.Err, "the customer (--ca-file)"),
		}
		if errors.As(e.err, new(x509.HostnameError)) && !slices.Contains(v.advertised(), addr) {
			f.Where = whereCommand
			f.ToDo = "bootstrap with a name that the certificate has" + such(v.advertised(), ", such as ")
		}
		return f
	case errors.Is(e.err, errSpeaksHTTP):
		return &VerifyFault{
			faultHTTP, "a web server answers at " + at, whereBalancer, rule + leadsTo(v.ports(addr)),
		}
	case e.seen == mannerEnds:
		return v.endsAtOnce(addr, rule)
	case e.seen == mannerAlerts:
		return &VerifyFault{
			faultProxy, "the listener at " + at + " was sent something before the customer's first byte, and ended the " +
				"connection with a TLS alert", whereBalancer,
			"switch off the PROXY protocol in the load balancer (or the private link) for " + host + ": Kafka does not know it",
		}
	case e.seen == mannerSpeaksTLS, errors.Is(e.err, errSpeaksTLS):
		return &VerifyFault{
			faultTLS, fmt.Sprintf("the server at %s speaks TLS, and the manifest says that %s has %s", at, v.o.Listener,
				v.o.Login.Protocol), whereBalancer, rule + leadsTo(v.ports(addr)) +
				", without TLS of the load balancer's own; if the listener is meant to have TLS, correct security_protocol in the manifest",
		}
	case e.seen == mannerPlain:
		return &VerifyFault{
			faultNoTLS, fmt.Sprintf("Kafka at %s does not speak TLS, and the manifest says that %s has %s", at, v.o.Listener,
				v.o.Login.Protocol), whereBalancer, rule + leadsTo(v.ports(addr)) +
				"; if the listener is meant to have no TLS, correct security_protocol in the manifest",
		}
	case errors.As(e.err, &network) && network.Op == remoteAlert:
		return &VerifyFault{
			faultCertificate, fmt.Sprintf("the broker at %s ends the TLS handshake: %v", at, network.Err),
			whereCustomer,
			"the listener may ask for a certificate of the customer (ssl.client.auth): give one with --client-properties",
		}
	case timedOut(e.err):
		return &VerifyFault{
			faultNoAnswer, at + " takes connections, and no answer comes over them", whereBroker,
			"the load balancer may wait for a broker that is down, or the broker hangs: see kpls-agent status",
		}
	}
	return &VerifyFault{
		faultOther, fmt.Sprintf("what listens at %s is no Kafka listener with %s: %v", at, v.o.Login.Protocol, e.err),
		whereBalancer, rule + leadsTo(v.ports(addr)),
	}
}

// endsAtOnce is about an address that ends each connection before anything was said.
func (v *verifier) endsAtOnce(addr, rule string) *VerifyFault {
	at := v.dialled(addr)
	_, port, _ := net.SplitHostPort(v.o.mapped(addr))
	if n, err := strconv.Atoi(port); err == nil && slices.Contains(v.o.Probes, n) {
		f := &VerifyFault{
			faultProbePort, fmt.Sprintf("port %d is the probe port of %s: the agent ends each connection there, and no "+
				"Kafka answers", n, v.o.Listener), whereBalancer, rule + leadsTo(v.ports(addr)),
		}
		if slices.Contains(v.o.Bootstrap, addr) {
			f.Where, f.ToDo = whereCommand, v.instead()
		}
		return f
	}
	return &VerifyFault{
		faultEnds, at + " ends each connection at once, before anything was said", whereBalancer,
		"if `kpls-agent status` shows the probe as closed, or the agent as stopped, silent or none, the load balancer has " +
			"no broker for this port; else it leads to the probe port" + such(strs(v.o.Probes), " ") + " and not to Kafka's" + such(strs(v.ports(addr)), " ") +
			", or a PROXY protocol is switched on that Kafka does not know: " + rule,
	}
}

// mistyped adds to a fault of a bootstrap address to which nothing answers that no broker advertises its port. It may
// be right all the same: a load balancer can have a port of its own that leads to all brokers.
func (v *verifier) mistyped(addr string, f *VerifyFault) *VerifyFault {
	ports := portsOf(v.advertised())
	_, port, _ := net.SplitHostPort(addr)
	if !slices.Contains(v.o.Bootstrap, addr) || len(ports) == 0 || slices.Contains(ports, port) {
		return f
	}
	if bind, shared := v.o.Shared[port]; shared {
		f.ToDo = fmt.Sprintf("port %s is the shared bootstrap port: see its rule, which is to lead to port %d of all brokers, "+
			"the firewalls, and in `kpls-agent status` whether all probes are closed", port, bind)
		return f
	}
	f.Where = whereCommand
	if other := v.otherListener(addr); other != "" {
		f.ToDo = fmt.Sprintf("port %s is one of %s: add --listener %s, or give a port of %s, such as %s", port, other,
			other, v.o.Listener, ports[0])
		return f
	}
	f.ToDo = fmt.Sprintf("%s is no advertised port of %s: give one, such as %s. If the load balancer is to lead it to "+
		"all brokers, see its rule for port %s, the firewalls, and in `kpls-agent status` whether all probes are closed",
		port, v.o.Listener, ports[0], port)
	return f
}

// otherListener is the listener of the manifest that has the port of an address; empty if none has, or if the one that
// is tried has it.
func (v *verifier) otherListener(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	if slices.Contains(portsOf(v.advertised()), port) {
		return ""
	}
	for _, other := range slices.Sorted(maps.Keys(v.o.Others)) {
		if slices.Contains(portsOf(v.o.Others[other]), port) {
			return other
		}
	}
	return ""
}

func portsOf(addrs []string) []string {
	var out []string
	for _, addr := range addrs {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			out = append(out, port)
		}
	}
	return out
}

// ownPort is true for a bootstrap address that has the brokers' own port, to which the load balancer leads, and no
// advertised one.
func (v *verifier) ownPort(addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	n, err := strconv.Atoi(port)
	return err == nil && slices.Contains(v.o.Bootstrap, addr) && slices.Contains(v.o.Ports, n) &&
		!slices.ContainsFunc(v.advertised(), func(a string) bool { return strings.HasSuffix(a, ":"+port) })
}

// instead is what to do about a bootstrap address that no customer can use.
func (v *verifier) instead() string {
	return "give customers, and --bootstrap, an advertised port instead" + such(v.advertised(), ", such as ")
}

// advertised are the addresses of the manifest, sorted.
func (v *verifier) advertised() []string {
	var all []string
	for _, want := range v.o.Want {
		all = append(all, want)
	}
	slices.Sort(all)
	return all
}

func strs(ports []int) []string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(p))
	}
	return all
}

// such is the first of some examples; empty if there is none.
func such(examples []string, before string) string {
	if len(examples) == 0 {
		return ""
	}
	return before + examples[0]
}

// ports are those of the brokers to which the load balancer's port of an address is to lead.
func (v *verifier) ports(addr string) []int {
	_, port, _ := net.SplitHostPort(addr)
	if bind, shared := v.o.Shared[port]; shared {
		return []int{bind}
	}
	return v.o.Ports
}

func leadsTo(ports []int) string { return such(strs(ports), "; it is to lead to the brokers' port ") }

// refused is about a listener that has answered, and does not give what a customer needs.
func (v *verifier) refused(addr string, err error) *VerifyFault {
	at := v.dialled(addr)
	user := "the customer's user"
	protocol := fmt.Sprintf("; the manifest says that %s has %s", v.o.Listener, v.o.Login.Protocol)
	const listener = "correct security_protocol in the manifest, or the rule of the load balancer if it leads to " +
		"another listener"
	var (
		hangUp *hangUpError
		broken *pathError
	)
	_ = errors.As(err, &broken)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return &VerifyFault{
			faultLogin, "the broker at " + at + " refuses the login: the user name or the password is wrong",
			whereCustomer, loginAdvice + ", or the user in Kafka",
		}
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return &VerifyFault{
			faultLogin, "the broker at " + at + " does not offer the SASL mechanism " + v.o.Login.Mechanism,
			whereCustomer,
			"give another one with --mechanism or in --client-properties, or add it to sasl.enabled.mechanisms of the listener",
		}
	case errors.Is(err, kerr.IllegalSaslState):
		return &VerifyFault{
			faultNoLogin, "the broker at " + at + " expects no login" + protocol, whereManifest, listener,
		}
	case errors.As(err, &hangUp) && hangUp.at == atFirstRequest && !v.o.Login.usesSASL():
		return &VerifyFault{
			faultNeedsLogin, "the broker at " + at + " expects a login" + protocol, whereManifest, listener,
		}
	case denied(err):
		return &VerifyFault{
			faultRights, user + " has too few rights: " + err.Error(), whereCustomer, rightsAdvice,
		}
	case broken != nil && broken.at == atLogin:
		return &VerifyFault{
			faultLogin, fmt.Sprintf("the login at %s fails: %v", at, broken.err), whereCustomer, loginAdvice +
				"; the broker's log says what it has against it",
		}
	case timedOut(err):
		return &VerifyFault{
			faultNoAnswer, "the broker at " + at + " did not answer in time", whereBroker,
			"see with kpls-agent status that it runs, and that it is not overloaded",
		}
	case broken != nil && ended(err):
		return &VerifyFault{
			faultEnds, fmt.Sprintf("the connection to %s ended in the middle of a request: %v", at, err), whereBroker,
			"the broker may be stopping: see kpls-agent status, and try again",
		}
	}
	return &VerifyFault{
		faultOther, fmt.Sprintf("the broker at %s answers: %v", at, err), whereBroker,
		"see the broker's log, and try again",
	}
}

// Error implements error.
func (f *VerifyFault) Error() string { return f.Text + "; " + f.ToDo }
