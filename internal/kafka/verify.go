package kafka

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"golang.org/x/sync/errgroup"
)

const (
	// verifyTopic is the topic that Verify makes where none is named.
	verifyTopic = "__kpls_agent_verify"
	// verifyWait bounds the attempts with one broker: right after it was made, a
	// partition might not have its leader everywhere.
	verifyWait = 10 * time.Second
	// verifyAtOnce is how many brokers are tried at the same time.
	verifyAtOnce = 16
)

// VerifyOptions says what a customer is promised.
type VerifyOptions struct {
	// Bootstrap are the addresses (host:port) that a customer is given.
	Bootstrap []string
	// Want maps every broker to the host:port it must advertise.
	Want map[int32]string
	// Probes are the ports of the listener's probes; Ports are those at which Kafka
	// listens on the brokers. They are for messages only.
	Probes, Ports []int
	// Shared are the load balancer's ports that lead to all brokers, each with the port at which Kafka listens for it.
	// They are for messages only.
	Shared map[string]int
	// Others are the addresses that the brokers advertise for the other listeners, by listener. They are for messages
	// only.
	Others map[string][]string
	// Optional are brokers of Want that may be missing.
	Optional []int32
	// Map says where to dial for a name: the key is an advertised host or
	// host:port, the value a host, or a host:port. For who has no DNS for the names.
	Map map[string]string
	// Listener is the listener's name, for messages only.
	Listener string
	// Login is the customer's.
	Login Login
	// Topic is made and removed again; it must not exist. Empty is __kpls_agent_verify.
	Topic string
	// Dial replaces the network in tests; nil is TCP.
	Dial DialFunc
}

// VerifyReport is all that Verify has seen. No field of its JSON is ever null.
type VerifyReport struct {
	// OK is true if nothing is wrong at all.
	OK bool `json:"ok"`
	// Listener is the one that was tried.
	Listener string `json:"listener"`
	// Bootstrap has a row for each address, in the order given.
	Bootstrap []VerifyAddress `json:"bootstrap"`
	// Brokers has a row for each broker that the manifest or the cluster names, by id.
	Brokers []VerifyRow `json:"brokers"`
	// Fault is what kept Verify from trying all of it.
	Fault *VerifyFault `json:"fault,omitempty"`
}

// VerifyAddress is what the customer sees of one bootstrap address.
type VerifyAddress struct {
	Address   string       `json:"address"`
	Connected Millis       `json:"connected_ms,omitzero"`
	Fault     *VerifyFault `json:"fault,omitempty"`
}

// VerifyRow is what the customer sees of one broker. A duration of 0 means
// that it was not tried, or did not succeed.
type VerifyRow struct {
	Broker int32  `json:"broker"`
	OK     bool   `json:"ok"`   // all of it was tried, and nothing is wrong
	Want   string `json:"want"` // host:port of the manifest, empty for a broker that is not in it
	Got    string `json:"got"`  // host:port that the broker advertises, empty if the cluster does not name it
	// Connected, Produced and Consumed are how long it took to connect, log in and get
	// a first answer, to produce one record with acks=all, and to read it back.
	Connected Millis `json:"connected_ms,omitzero"`
	Produced  Millis `json:"produced_ms,omitzero"`
	Consumed  Millis `json:"consumed_ms,omitzero"`
	// Fault is what is wrong with this broker, nil if nothing is.
	Fault *VerifyFault `json:"fault,omitempty"`
}

// Millis is a duration that is written in milliseconds.
type Millis time.Duration

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/float64(time.Millisecond), 'f', 3, 64), nil
}

// Faults are all that were found, in the order in which they are to be read.
func (r VerifyReport) Faults() []*VerifyFault {
	var all []*VerifyFault
	for _, b := range r.Bootstrap {
		all = append(all, b.Fault)
	}
	for _, b := range r.Brokers {
		all = append(all, b.Fault)
	}
	return slices.DeleteFunc(append(all, r.Fault), func(f *VerifyFault) bool { return f == nil })
}

// Verify is the customer: it bootstraps from the given addresses, compares what
// every broker advertises with what is wanted, sees that the broker itself answers
// there, and produces to and consumes from a partition led by each broker, over the
// listener it came in by. The topic is removed in any case.
//
// It speaks over connections of its own to each address. A client such as franz-go's
// goes by the addresses of the cluster, and these are what is in question: to a client
// whose port leads to another broker, Kafka 4.4 says no more than that it must
// bootstrap again (KIP-1242).
func Verify(ctx context.Context, o VerifyOptions) VerifyReport {
	o.Topic, o.Login.Protocol = cmp.Or(o.Topic, verifyTopic), cmp.Or(o.Login.Protocol, "PLAINTEXT")
	v := &verifier{o: o, report: VerifyReport{
		Listener: o.Listener, Bootstrap: []VerifyAddress{}, Brokers: []VerifyRow{},
	}}
	for _, addr := range o.Bootstrap {
		v.report.Bootstrap = append(v.report.Bootstrap, VerifyAddress{Address: addr})
	}
	v.report.Fault = v.all(ctx)
	for _, p := range v.paths {
		p.close()
	}
	for i := range v.report.Brokers {
		r := &v.report.Brokers[i]
		r.OK = r.Fault == nil && r.Consumed > 0
	}
	v.report.OK = len(v.report.Faults()) == 0
	return v.report
}

type verifier struct {
	o      VerifyOptions
	mech   sasl.Mechanism
	report VerifyReport

	cluster string  // id of the cluster at the bootstrap addresses
	named   []int32 // the brokers that it names
	entry   string  // the host at which the first of them was reached
	paths   []*path // one for each row of the report
	madeAt  string  // the address at which the topic was made
}

// all returns what kept it from trying all.
func (v *verifier) all(ctx context.Context) *VerifyFault {
	err := v.o.Login.check()
	if err == nil {
		v.mech, err = v.o.Login.mechanism()
	}
	if err != nil {
		v.compare(nil)
		return &VerifyFault{
			faultLogin, "the customer's login cannot be read: " + err.Error(), whereCommand, loginAdvice,
		}
	}
	brokers, ok := v.bootstrap(ctx)
	v.compare(brokers)
	if !ok {
		return &VerifyFault{
			faultBootstrap, "no bootstrap address answers, so no broker was tried", whereCommand,
			"correct what is wrong with the bootstrap addresses",
		}
	}
	v.each(ctx, func(ctx context.Context, p *path) error { return p.connect(ctx) })
	return v.exchange(ctx)
}

// bootstrap asks each address for the brokers; the first answer in the order of the
// addresses counts. It is not ok if none answers.
func (v *verifier) bootstrap(ctx context.Context) (named []kmsg.MetadataResponseBroker, ok bool) {
	answers := make([]*kmsg.MetadataResponse, len(v.o.Bootstrap))
	var wg sync.WaitGroup
	for i := range v.report.Bootstrap {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, verifyWait)
			defer cancel()
			row := &v.report.Bootstrap[i]
			p := &path{v: v, addr: row.Address}
			defer p.close()
			var err error
			if answers[i], row.Connected, err = p.open(ctx); err != nil {
				row.Fault = v.fault(row.Address, err)
			}
		})
	}
	wg.Wait()
	for i, resp := range answers {
		switch {
		case resp == nil:
		case !ok:
			ok, named, v.cluster = true, resp.Brokers, deref(resp.ClusterID)
			v.entry, _, _ = net.SplitHostPort(v.o.mapped(v.o.Bootstrap[i]))
		case deref(resp.ClusterID) != v.cluster:
			v.report.Bootstrap[i].Fault = v.fault(v.o.Bootstrap[i],
				&otherClusterError{is: deref(resp.ClusterID), want: v.cluster})
		}
	}
	for i := range v.report.Bootstrap { // again: the first answer says where names may lead
		if f := v.report.Bootstrap[i].Fault; f != nil && f.Code == faultDNS {
			f.ToDo = v.dnsAdvice(v.o.Bootstrap[i])
		}
	}
	return named, ok
}

// compare makes a row for every broker that is wanted or named.
func (v *verifier) compare(brokers []kmsg.MetadataResponseBroker) {
	got := map[int32]string{}
	for _, b := range brokers {
		got[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		v.named = append(v.named, b.NodeID)
		if _, ok := v.o.Want[b.NodeID]; !ok {
			v.report.Brokers = append(v.report.Brokers, VerifyRow{
				Broker: b.NodeID, Got: got[b.NodeID],
				Fault: &VerifyFault{
					faultNotInManifest, "the cluster has this broker, and the manifest does not",
					whereManifest, "add the broker to the manifest, or give verify the right one with --manifest",
				},
			})
		}
	}
	for id, want := range v.o.Want {
		if got[id] == "" && slices.Contains(v.o.Optional, id) {
			continue
		}
		row := VerifyRow{Broker: id, Want: want, Got: got[id]}
		if brokers != nil {
			row.Fault = v.differs(row)
		}
		v.report.Brokers = append(v.report.Brokers, row)
	}
	slices.SortFunc(v.report.Brokers, func(a, b VerifyRow) int { return cmp.Compare(a.Broker, b.Broker) })
	for i := range v.report.Brokers {
		r := &v.report.Brokers[i]
		v.paths = append(v.paths, &path{v: v, addr: r.Got, row: r})
	}
}

// each runs f for every broker that the cluster names, some at a time.
func (v *verifier) each(ctx context.Context, f func(context.Context, *path) error) {
	var all errgroup.Group
	all.SetLimit(verifyAtOnce)
	for _, p := range v.paths {
		if p.addr == "" {
			continue
		}
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, verifyWait)
			defer cancel()
			if err := f(ctx, p); err != nil && p.row.Fault == nil {
				p.row.Fault = v.fault(p.addr, err)
			}
			return nil
		})
	}
	_ = all.Wait() // what fails is in the rows
}

// mapped returns where to dial for an address.
func (o VerifyOptions) mapped(addr string) string {
	if to, ok := o.Map[addr]; ok {
		return withPort(to, addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if to, ok := o.Map[host]; ok && err == nil {
		return withPort(to, addr)
	}
	return addr
}

func withPort(to, addr string) string {
	if _, _, err := net.SplitHostPort(to); err == nil {
		return to
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return to
	}
	return net.JoinHostPort(to, port)
}

// CheckAddress returns an error that says what is wrong with a bootstrap address; want
// is what the manifest has.
func CheckAddress(addr string, want map[int32]string) error {
	bare := addr
	if _, after, found := strings.Cut(addr, "://"); found {
		bare = after
	}
	host, port, err := net.SplitHostPort(bare)
	n, bad := strconv.Atoi(port)
	ip := net.ParseIP(bare)
	what := ""
	switch {
	case err != nil && ip != nil && ip.To4() == nil:
		what, host = "has no port, and an IPv6 address stands in brackets", "["+bare+"]"
	case err != nil:
		what, host = "has no port", strings.TrimSuffix(bare, ":")
	case host == "":
		what, host = "has no host", "HOST"
	case bad != nil || n < 1 || n > 65535:
		what = "has a port that is no number from 1 to 65535"
	case bare != addr:
		return fmt.Errorf("%s begins with a protocol; give %s", addr, bare)
	default:
		return nil
	}
	next := "give HOST:PORT"
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if _, port, err := net.SplitHostPort(want[id]); err == nil {
			next = fmt.Sprintf("broker %d is at port %s in the manifest: give %s:%s", id, port, host, port)
			break
		}
	}
	return fmt.Errorf("%s %s; %s", addr, what, next)
}

// VerifyNothing is the report of a Verify that could not begin.
func VerifyNothing(why error) VerifyReport {
	return VerifyReport{
		Bootstrap: []VerifyAddress{}, Brokers: []VerifyRow{},
		Fault: &VerifyFault{faultUsage, why.Error(), whereCommand, "correct what is given to verify"},
	}
}

// Advice is for people: the faults by what is to be done about them and where, which many
// may share.
func (r VerifyReport) Advice() string {
	var order []string
	by := map[string][]string{}
	add := func(at string, f *VerifyFault) {
		if f == nil {
			return
		}
		todo := fmt.Sprintf("to do (%s): %s", strings.ReplaceAll(f.Where, "_", " "), f.ToDo)
		if by[todo] == nil {
			order = append(order, todo)
		}
		by[todo] = append(by[todo], at+f.Text)
	}
	for _, b := range r.Bootstrap {
		add("bootstrap "+b.Address+": ", b.Fault)
	}
	for _, b := range r.Brokers {
		add(fmt.Sprintf("broker %d: ", b.Broker), b.Fault)
	}
	add("", r.Fault)
	var text strings.Builder
	for _, todo := range order {
		fmt.Fprintf(&text, "\n%s\n  %s\n", strings.Join(by[todo], "\n"), todo)
	}
	return text.String()
}
