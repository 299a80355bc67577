package balancer

import (
	"slices"
	"strings"
)

// awsGroup are the attributes of a target group, as describe-target-group-attributes names them. Presets: the elbv2
// API's TargetGroupAttribute.
var awsGroup = []want{
	{
		proxyProtocol, "proxy_protocol_v2.enabled", "false", is("false"), "false",
		"each connection then begins with bytes that Kafka refuses",
		"set proxy_protocol_v2.enabled of the target group to false", true,
	},
	{
		clientAddress, "preserve_client_ip.enabled", "true", is("false"), "false",
		"a broker cannot reach itself through the load balancer, and the security groups must allow every client",
		"set preserve_client_ip.enabled of the target group to false", false,
	},
}

// awsOneBroker is for a group of one broker.
var awsOneBroker = []want{
	{
		cutsConnections, "target_health_state.unhealthy.connection_termination.enabled", "true", is("false"), "false",
		"a closed probe cuts the connections of a broker that serves, and there is no other target for them",
		"set target_health_state.unhealthy.connection_termination.enabled of the target group to false", false,
	},
}

// awsListener are the attributes of a listener.
var awsListener = []want{
	{
		idleTime, "tcp.idle_timeout.seconds", "350", moreThan(kafkaIdle),
		"more than 600 (Kafka's connections.max.idle.ms)",
		"the load balancer drops idle connections before Kafka closes them",
		"set tcp.idle_timeout.seconds of the listener to 900", false,
	},
}

// crossZoneKey is an attribute of load balancers and of target groups.
const crossZoneKey = "load_balancing.cross_zone.enabled"

// awsReader joins the answers by ARN.
type awsReader struct {
	seen       *seen
	attributes map[string]object // by ARN, as one object of all keys
	groups     map[string]object
	health     map[string][]member
	balancer   string // its ARN
}

// readAWS reads a network load balancer and its endpoint service.
func readAWS(in *inputs) *seen {
	r := &awsReader{
		seen: &seen{cloud: "aws"}, attributes: map[string]object{}, groups: map[string]object{},
		health: map[string][]member{},
	}
	r.collect(in)
	listeners := r.listeners(in)
	for _, l := range listeners {
		r.seen.ports = append(r.seen.ports, r.port(l))
	}
	r.loadBalancer(in)
	r.services(in)
	r.missing(in, len(listeners))
	return r.seen
}

// collect sorts what hangs on an ARN.
func (r *awsReader) collect(in *inputs) {
	for _, doc := range in.by[kindAWSGroups] {
		for _, g := range doc.objects("TargetGroups") {
			r.groups[g.text("TargetGroupArn")] = g
		}
	}
	for _, doc := range in.by[kindAWSHealth] {
		arn := doc.text("TargetGroupArn")
		if arn == "" && len(r.groups) == 1 {
			for only := range r.groups {
				arn = only
			}
		}
		members := []member{}
		for _, h := range doc.objects("TargetHealthDescriptions") {
			for _, t := range h.objects("Target") {
				members = append(members, member{[]string{t.text("Id")}, t.text("Id"), "", t.fact("Port").port()})
			}
		}
		r.health[arn] = members
	}
	for _, doc := range in.by[kindAWSAttribute] {
		all := object{map[string]any{}, doc.whole}
		for _, a := range doc.objects("Attributes") {
			v, _ := a.value("Value")
			all.fields[a.text("Key")] = v
		}
		r.attributes[attributesOf(doc)] = all
	}
}

// attributesOf is the ARN that was put to a list of attributes.
func attributesOf(doc object) string {
	for _, name := range []string{"TargetGroupArn", "ListenerArn", "LoadBalancerArn"} {
		if arn := doc.text(name); arn != "" {
			return arn
		}
	}
	return ""
}

// listeners are those of the one load balancer.
func (r *awsReader) listeners(in *inputs) []object {
	var out []object
	for _, doc := range in.by[kindAWSListeners] {
		for _, l := range doc.objects("Listeners") {
			r.balancer = l.text("LoadBalancerArn")
			out = append(out, l)
		}
	}
	return out
}

// groupsOf are the ARNs of the groups that a listener forwards to.
func groupsOf(listener object) []string {
	var out []string
	for _, a := range listener.objects("DefaultActions") {
		all := []object{a}
		for _, f := range a.objects("ForwardConfig") {
			all = append(all, f.objects("TargetGroups")...)
		}
		for _, g := range all {
			if arn := g.text("TargetGroupArn"); arn != "" && !slices.Contains(out, arn) {
				out = append(out, arn)
			}
		}
	}
	return out
}

func (r *awsReader) port(l object) *port {
	number := l.text("Port")
	where := "listener " + number
	p := &port{where: where, number: l.fact("Port").port(), protocol: l.fact("Protocol")}
	groups := groupsOf(l)
	arn := ""
	if len(groups) > 0 {
		arn = groups[0]
	}
	attributes := r.attributes[l.text("ListenerArn")]
	p.settings = judged(where, attributes, awsListener)
	g, known := r.groups[arn]
	p.pool = groupName(arn)
	if !known {
		return p
	}
	p.pool = g.text("TargetGroupName")
	group := "target group " + p.pool
	p.to = g.fact("Port")
	p.probeShown = true
	if g.text("HealthCheckEnabled") != "false" {
		p.probe = awsProbe(group, g, p.to)
	}
	p.membersShown = true
	for _, arn := range groups { // more than one share the connections
		p.members = append(p.members, r.health[arn]...)
		p.membersShown = p.membersShown && r.health[arn] != nil
	}
	of := r.attributes[arn]
	p.settings = append(p.settings, judged(group, of, awsGroup)...)
	if len(p.members) <= 1 {
		p.settings = append(p.settings, judged(group, of, awsOneBroker)...)
	}
	p.settings = append(p.settings, r.crossZone(group, of))
	return p
}

// groupName is that of a target group by its ARN.
func groupName(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) < 2 {
		return arn
	}
	return parts[len(parts)-2]
}

func awsProbe(group string, g object, to fact) *probe {
	q := &probe{
		where: "health check of " + group, port: g.fact("HealthCheckPort"), protocol: g.fact("HealthCheckProtocol"),
		protocols: []string{"tcp"},
		interval:  g.fact("HealthCheckIntervalSeconds"), threshold: g.fact("HealthyThresholdCount"),
	}
	if q.port.text == "traffic-port" || q.port.state == unset {
		q.port = to
	}
	if q.protocol.state == unset {
		q.protocol = fact{given, "TCP"}
	}
	return q
}

// crossZone judges what a group and its load balancer say together.
func (r *awsReader) crossZone(where string, group object) setting {
	w := want{
		crossZone, crossZoneKey, "false", is("true"), "true where one name serves all zones",
		"a client that the name leads to the load balancer's address in another zone finds no broker there",
		"set " + crossZoneKey + " of the load balancer, or of the target group, to true", false,
	}
	f := group.fact(crossZoneKey)
	if f.state == given && f.text != "use_load_balancer_configuration" {
		return w.judge(where, f)
	}
	of := r.attributes[r.balancer].fact(crossZoneKey)
	if f.state == hidden && of.state == given && of.text != "true" {
		of = fact{}
	}
	return w.judge(where, of)
}

// loadBalancer checks the load balancer itself.
func (r *awsReader) loadBalancer(in *inputs) {
	for _, doc := range in.by[kindAWSBalancers] {
		for _, lb := range doc.objects("LoadBalancers") {
			if lb.text("LoadBalancerArn") != r.balancer && r.balancer != "" {
				continue
			}
			r.seen.name = lb.text("LoadBalancerName")
			where := "load balancer " + r.seen.name
			r.seen.shared = append(r.seen.shared, want{
				wrongProtocol, "Type", "application", is("network"), "network",
				"no other type carries Kafka's protocol, or a private link",
				"make a load balancer of type network", true,
			}.judge(where, lb.fact("Type")))
			r.seen.tags(lb, "Tags")
		}
	}
}

// services are the endpoint services.
func (r *awsReader) services(in *inputs) {
	for _, doc := range in.by[kindAWSServices] {
		for _, o := range doc.objects("ServiceConfigurations") {
			s := service{where: "endpoint service " + o.text("ServiceId"), fronts: o.texts("NetworkLoadBalancerArns")}
			if v, _ := o.value("NetworkLoadBalancerArns"); v == (unknown{}) {
				continue
			}
			if slices.Contains(s.fronts, r.balancer) {
				r.seen.services = append(r.seen.services, s)
			}
		}
		if len(r.seen.services) == 0 && r.balancer != "" {
			r.seen.shared = append(r.seen.shared, setting{
				code: missingService, where: "endpoint service", shown: true,
				text: "no endpoint service in the document leads to the load balancer of the listeners: customers cannot " +
					"connect",
				todo: "make an endpoint service for the load balancer, or give the document of its region",
			})
		}
	}
}

// missing notes what was not given.
func (r *awsReader) missing(in *inputs, listeners int) {
	for _, d := range []struct {
		kind, what, command string
		matters             bool
	}{
		{kindAWSListeners, "the ports", "aws elbv2 describe-listeners --load-balancer-arn ARN", true},
		{kindAWSGroups, "where the listeners lead, and their probes", "aws elbv2 describe-target-groups", true},
		{kindAWSBalancers, "the load balancer itself", "aws elbv2 describe-load-balancers", false},
		{kindAWSServices, "the endpoint service", "aws ec2 describe-vpc-endpoint-service-configurations", false},
	} {
		if len(in.by[d.kind]) == 0 {
			r.seen.hint(d.what, d.command, d.matters)
		}
	}
	r.seen.portsHidden = len(in.by[kindAWSListeners]) == 0
	if listeners == 0 {
		return
	}
	if len(in.by[kindAWSHealth]) == 0 && len(in.by[kindTerraform]) == 0 {
		r.seen.hint("which VM a target group leads to", "aws elbv2 describe-target-health --target-group-arn ARN "+
			"--query \"{TargetGroupArn: 'ARN', TargetHealthDescriptions: TargetHealthDescriptions}\"", true)
	}
}
