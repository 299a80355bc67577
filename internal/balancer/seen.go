package balancer

// seen is what the documents say, in the same words for all clouds.
type seen struct {
	cloud string
	ports []*port
	// services are what carries a private link to the load balancer.
	services []service
	// shared are facts that are not of one port.
	shared []setting
	// portsHidden is true if no document has the ports.
	portsHidden bool
	// hints are notes on what was not given at all.
	hints []Unseen
	// fronts is true if ports of several frontends may have the same number: Azure.
	fronts bool
	// manifest is the SHA-256 that a rendered file has left on the load balancer; cluster its cluster.
	manifest, cluster, name string
}

// port is one port of the load balancer, with where it leads.
type port struct {
	where string // how the document calls it: "rule external-b1"
	front string // the frontend that it belongs to, lower case
	label string // the frontend's name
	// number is what clients connect to.
	number int
	// protocol is right or not; the reader knows the cloud's words.
	protocol fact
	// to is the port at the VM.
	to      fact
	pool    string // the name of the pool, for a hint at the broker
	members []member
	// membersShown is false if no document says which VMs are behind the port.
	membersShown bool
	probe        *probe
	// probeShown is false if no document says whether there is a probe.
	probeShown bool
	// noProbe is true if the cloud has no use for a probe here: Google Cloud's port mapping.
	noProbe  bool
	settings []setting
	used     bool
}

// member is one VM behind a port.
type member struct {
	names []string // as --host may call it: an interface, an instance, an address
	shown string
	// label is a name that somebody has given it on the load balancer, for a hint at the broker.
	label string
	port  int // where it is not the port's own; 0 is the same
}

// probe is what the load balancer asks.
type probe struct {
	where               string
	port                fact
	protocol            fact
	protocols           []string // that fit, in lower case
	interval, threshold fact
	settings            []setting
}

// service is a private link service, an endpoint service or a service attachment.
type service struct {
	where  string
	fronts []string // what it leads to, lower case
	// known are the frontends of the given load balancer, lower case.
	settings []setting
}

// setting is one switch, judged by the reader.
type setting struct {
	code, where string
	fits        bool
	shown       bool
	text, todo  string
	matters     bool
}

// want is what a switch must be.
type want struct {
	code, key string
	// preset is the cloud's own value, which counts where the switch is not set.
	preset string
	// fits judges the value.
	fits func(string) bool
	// must is what is expected, for people; why is what happens otherwise.
	must, why string
	todo      string
	matters   bool
}

// is fits one value.
func is(text string) func(string) bool { return func(s string) bool { return s == text } }

// moreThan fits larger numbers.
func moreThan(n float64) func(string) bool {
	return func(s string) bool { return fact{given, s}.number() > n }
}

// judge makes the setting of one switch.
func (w want) judge(where string, f fact) setting {
	s := setting{code: w.code, where: where, matters: w.matters, todo: w.todo, shown: f.state != hidden}
	value, said := f.text, w.key+" is "+f.text
	if f.state == unset {
		value, said = w.preset, w.key+" is not set, which is "+w.preset
	}
	s.fits = w.fits(value)
	s.text = where + ": " + said + "; expected " + w.must + ": " + w.why
	if !s.shown {
		s.text = w.key
	}
	return s
}

// judged are the settings of an object.
func judged(where string, o object, wants []want) []setting {
	var out []setting
	for _, w := range wants {
		out = append(out, w.judge(where, o.fact(w.key)))
	}
	return out
}

// kafkaIdle is connections.max.idle.ms of a broker in seconds: Kafka itself then ends an idle connection, and a client
// hears of it.
const kafkaIdle = 600
