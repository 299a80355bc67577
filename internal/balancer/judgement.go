package balancer

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/render"
)

// judgement is one port of the load balancer, compared with the broker that it is to lead to.
type judgement struct {
	*comparison
	listener *render.Listener
	expected expectation
	port     *port
	codes    []string
	unseen   bool
}

func (j *judgement) verdict() string {
	switch {
	case len(j.codes) > 0:
		return strings.Join(j.codes, ", ")
	case j.unseen:
		return "not shown"
	default:
		return "ok"
	}
}

func (j *judgement) code(code string) {
	if code != "" && !slices.Contains(j.codes, code) {
		j.codes = append(j.codes, code)
	}
}

// found is a difference of this port.
func (j *judgement) found(code, where, text, todo string) {
	j.code(code)
	j.report.add(Finding{
		code, j.listener.Name, j.id(), j.expected.port, where,
		fmt.Sprintf("%s, port %d: %s", subject(j.listener.Name, j.id()), j.expected.port, text), todo,
	})
}

// shared is a difference of something that several ports have.
func (j *judgement) shared(code, where, text, todo string) {
	j.code(j.setting(j.listener.Name, setting{code: code, where: where, shown: true, text: text, todo: todo}))
}

// hides notes what no document shows.
func (j *judgement) hides(what, where, todo string, matters bool) {
	j.report.unseen(what, where, todo, matters)
	j.unseen = j.unseen || matters
}

// id is the one broker that the port is of; nil for a bootstrap port.
func (j *judgement) id() *int32 {
	if j.expected.bootstrap {
		return nil
	}
	return &j.expected.brokers[0].ID
}

// whom is whom the port is to lead to.
func (j *judgement) whom() string {
	if j.expected.bootstrap {
		return "all brokers"
	}
	return fmt.Sprintf("broker %d alone", *j.id())
}

// wants is true for a broker that the port is to lead to.
func (j *judgement) wants(id int32) bool {
	return slices.ContainsFunc(j.expected.brokers, func(b render.Broker) bool { return b.ID == id })
}

func (j *judgement) all() {
	p := j.port
	switch {
	case p.protocol.state == hidden:
		j.hides("the protocol", p.where, "look at it by hand", false)
	case !strings.EqualFold(p.protocol.text, "tcp"):
		j.found(wrongProtocol, p.where, fmt.Sprintf("%s has the protocol %s; expected TCP: Kafka's bytes must arrive as they "+
			"were sent", p.where, p.protocol.text), "set the protocol to TCP")
	}
	j.members()
	j.backendPort()
	j.probe()
	for _, s := range p.settings {
		if s.code == crossZone && (len(j.zones()) < 2 || j.listener.ByZone && !j.expected.bootstrap) {
			continue // the name leads each client to the zone of the broker
		}
		if s.code == cutsConnections && j.expected.bootstrap {
			continue // there is another broker to go to
		}
		if !s.shown && s.matters {
			j.unseen = true
		}
		j.code(j.setting(j.listener.Name, s))
	}
}

// zones are those of the listener's brokers.
func (j *judgement) zones() map[string]bool {
	out := map[string]bool{}
	for _, b := range j.listener.Brokers {
		out[b.Zone] = true
	}
	return out
}

// backendPort: the VM's port is the one that Kafka binds.
func (j *judgement) backendPort() {
	p, want := j.port, j.listener.BindPort
	ports := []int{}
	for _, m := range p.members {
		if m.port != 0 {
			ports = append(ports, m.port)
		}
	}
	if len(ports) == 0 && p.to.state == given {
		ports = append(ports, p.to.port())
	}
	if len(ports) == 0 && p.membersShown && len(p.members) == 0 && p.to.state != hidden {
		return // there is no target, which has been said
	}
	if len(ports) == 0 {
		j.hides("the port at the VM", p.where, "look at it by hand", true)
		return
	}
	for _, got := range ports {
		if got != want {
			j.found(wrongBackendPort, p.where, fmt.Sprintf("%s leads to port %d of the VM; expected %d, which Kafka binds%s",
				p.where, got, want, j.whose(got)), fmt.Sprintf("lead it to port %d of the VM", want))
			return
		}
	}
}

// whose says which other listener, or which probe, has a port of the VM.
func (j *judgement) whose(number int) string {
	for _, l := range j.network.Listeners {
		switch number {
		case l.BindPort:
			return fmt.Sprintf(": %d is the port of %s", number, l.Name)
		case l.ProbePort:
			return fmt.Sprintf(": %d is the probe port of %s", number, l.Name)
		}
	}
	return ""
}

// members: one VM, that of the broker.
func (j *judgement) members() {
	p := j.port
	if hint, ok := j.hinted(); ok && (!j.wants(hint) || j.expected.bootstrap) {
		j.found(wrongBroker, p.where, fmt.Sprintf("%s leads to %s, by its name broker %d's: clients get a broker that does not "+
			"lead their partitions", p.where, j.hintedBy(), hint), j.lead())
		return
	}
	if !p.membersShown {
		j.hides("which VM the port leads to", p.where, "give the document that has the VMs behind the port; of Terraform, the state after the apply", true)
		return
	}
	if len(p.members) == 0 {
		j.found(noTarget, p.where, fmt.Sprintf("%s leads to %s, which has no VM in it", p.where, orNothing(p.pool)),
			"lead it to "+j.whom())
		return
	}
	there, known := map[int32]bool{}, true
	for _, m := range p.members {
		id, ok := j.member(m)
		there[id] = true
		known = known && ok
	}
	for _, b := range j.expected.brokers {
		if j.expected.bootstrap && known && !there[b.ID] {
			j.found(missingTarget, p.where, fmt.Sprintf("%s does not lead to broker %d: where only that one is up, clients "+
				"cannot begin", p.where, b.ID), j.lead())
		}
	}
}

// lead is the correction of where a port leads.
func (j *judgement) lead() string {
	return fmt.Sprintf("lead port %d to %s", j.expected.port, j.whom())
}

func orNothing(pool string) string {
	if pool == "" {
		return "no pool"
	}
	return pool
}

// hinted is the broker that names say; a target that is known says more.
func (j *judgement) hinted() (int32, bool) {
	for _, m := range j.port.members {
		if _, known := j.identify(m); known {
			return 0, false
		}
	}
	if len(j.port.members) == 1 {
		if id, ok := named(j.port.members[0].label); ok {
			return id, true
		}
	}
	return named(j.port.pool)
}

func (j *judgement) hintedBy() string {
	if len(j.port.members) == 1 && j.port.members[0].label != "" {
		return "server " + j.port.members[0].label
	}
	return j.port.pool
}

// identify finds the broker whose VM a member is.
func (c *comparison) identify(m member) (int32, bool) {
	for _, name := range m.names {
		if id, ok := c.ids[strings.ToLower(name)]; ok {
			return id, true
		}
	}
	return 0, false
}

// member judges one VM, and says which broker's it is; false where no document says it.
func (j *judgement) member(m member) (int32, bool) {
	p := j.port
	id, known := j.identify(m)
	switch {
	case known && j.wants(id):
	case known:
		j.found(wrongBroker, p.where, fmt.Sprintf("%s leads to %s, the VM of broker %d: clients get a broker that does not lead "+
			"their partitions", p.where, m.shown, id), j.lead())
	case j.foreign(m):
		j.found(wrongBroker, p.where, fmt.Sprintf("%s leads to %s, which is the VM of no broker of the manifest", p.where,
			m.shown), j.lead())
	default:
		j.hides("which broker's VM it is", m.shown, "say it with --host ID=NAME for each broker", true)
		return 0, false
	}
	return id, true
}

// foreign is true if every broker has a name of the same form, and none of them is this one.
func (j *judgement) foreign(m member) bool {
	form := 1
	for _, name := range m.names {
		if net.ParseIP(name) != nil {
			form = 0
		}
	}
	for _, b := range j.listener.Brokers {
		if !j.forms[b.ID][form] {
			return false
		}
	}
	return true
}

// probe: it asks the agent, as often as the manifest says.
func (j *judgement) probe() {
	p := j.port
	if p.noProbe {
		return
	}
	if !p.probeShown {
		j.hides("the probe", p.where, "give the document that has it; of Terraform, the state after the apply", true)
		return
	}
	q := p.probe
	if q == nil {
		j.found(missingProbe, p.where, fmt.Sprintf("%s has no probe: connections go to a broker that is not there", p.where),
			fmt.Sprintf("add a TCP probe of port %d", j.listener.ProbePort))
		return
	}
	j.probePort(q)
	if q.protocol.state == given && !slices.Contains(q.protocols, strings.ToLower(q.protocol.text)) {
		j.shared(probeProtocol, q.where, fmt.Sprintf("%s has the protocol %s; expected TCP: the agent's probe port speaks "+
			"nothing else", q.where, q.protocol.text), "set the protocol of the probe to TCP")
	}
	j.times(q)
	for _, s := range q.settings {
		j.code(j.setting(j.listener.Name, s))
	}
}

func (j *judgement) probePort(q *probe) {
	want := j.listener.ProbePort
	switch got := q.port.port(); {
	case q.port.state == hidden:
		j.hides("the port that the probe asks", q.where, "look at it by hand, or give the document that has it", true)
	case got == j.listener.BindPort:
		j.shared(probeOnKafka, q.where, fmt.Sprintf("%s asks port %d, which is Kafka's own; expected %d, the agent's: it is "+
			"open while the broker is not fit to serve, and Kafka logs each connection", q.where, got, want),
			fmt.Sprintf("let the probe ask port %d", want))
	case got != want:
		j.shared(wrongProbePort, q.where, fmt.Sprintf("%s asks port %s; expected %d%s", q.where, q.port.text, want,
			j.whose(got)), fmt.Sprintf("let the probe ask port %d", want))
	}
}

// times: the agent waits for as long as the manifest says that the load balancer takes.
func (j *judgement) times(q *probe) {
	for _, t := range []struct {
		code, what, field string
		got               fact
		want              float64
	}{
		{probeInterval, "the interval", "load_balancer.interval", q.interval, j.network.Probe.IntervalSeconds},
		{
			probeThreshold, "the threshold", "load_balancer.healthy_threshold", q.threshold,
			float64(j.network.Probe.HealthyThreshold),
		},
	} {
		switch {
		case t.got.state != given:
			j.hides(t.what+" of the probe", q.where, "look at it by hand, or give a document that has it", false)
		case t.got.number() != t.want:
			j.shared(t.code, q.where, fmt.Sprintf("%s: %s is %s, and %s of the manifest says %v: after a restart the agent "+
				"waits for a load balancer that is slower or faster than it believes", q.where, t.what, t.got.text, t.field,
				t.want), "make the two equal")
		}
	}
}
