package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cfnBody is the longest template that the AWS CLI sends by itself, in bytes (AWS CloudFormation quotas).
const cfnBody = 51200

// cfn is a template of CloudFormation. Its maps have Go's order of keys in JSON: sorted.
type cfn struct {
	Version     string              `json:"AWSTemplateFormatVersion"`
	Description string              `json:"Description"`
	Metadata    map[string]string   `json:"Metadata"`
	Parameters  map[string]cfnParam `json:"Parameters"`
	Resources   map[string]cfnThing `json:"Resources"`
	Outputs     map[string]cfnValue `json:"Outputs"`
}

type cfnParam struct {
	Type           string   `json:"Type"`
	Description    string   `json:"Description"`
	Default        string   `json:"Default,omitempty"`
	AllowedValues  []string `json:"AllowedValues,omitempty"`
	AllowedPattern string   `json:"AllowedPattern,omitempty"`
}

type cfnThing struct {
	Type       string   `json:"Type"`
	DependsOn  []string `json:"DependsOn,omitempty"`
	Properties cfnMap   `json:"Properties"`
}

type cfnValue struct {
	Description string `json:"Description"`
	Value       any    `json:"Value"`
}

type cfnMap map[string]any

func cfnRef(name string) cfnMap { return cfnMap{"Ref": name} }

// cfnAttributes are attributes of a load balancer, listener or target group: pairs of key and value.
func cfnAttributes(pairs ...string) []cfnMap {
	var all []cfnMap
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, cfnMap{"Key": pair[0], "Value": pair[len(pair)-1]})
	}
	return all
}

// awsCloudFormation is the same network as a template. It gives no names: AWS makes them from the stack's, so a change
// that replaces a target group can make the new one before it deletes the old one.
func awsCloudFormation(n *Network) (*Output, error) {
	groups, warnings, err := awsResolve(n, false)
	if err != nil {
		return nil, err
	}
	names, err := cfnNames(n)
	if err != nil {
		return nil, err
	}
	t := cfn{
		Version:     "2010-09-09",
		Description: n.note("aws"),
		Metadata:    map[string]string{"Cluster": n.Cluster, "ManifestSHA256": n.Manifest},
		Parameters:  cfnParameters(n, names),
		Resources:   map[string]cfnThing{},
		Outputs: map[string]cfnValue{"EndpointServiceName": {
			"Endpoint Service Name, for the customers' forms",
			cfnMap{"Fn::Sub": "com.amazonaws.vpce.${AWS::Region}.${EndpointService}"},
		}},
	}
	cfnLoadBalancer(&t, n, groups, names)
	var listeners []string
	for _, g := range groups {
		id := names[g.Listener]
		if !g.Bootstrap {
			id += "Broker" + g.Brokers[0]
		}
		t.Resources[id+"TargetGroup"] = cfnTargetGroup(n, g)
		t.Resources[id+"Listener"] = cfnListener(g, id+"TargetGroup")
		listeners = append(listeners, id+"Listener")
	}
	t.Resources["EndpointService"] = cfnThing{
		Type: "AWS::EC2::VPCEndpointService", DependsOn: listeners, Properties: cfnMap{
			"AcceptanceRequired": true, "NetworkLoadBalancerArns": []any{cfnRef("LoadBalancer")},
			"SupportedIpAddressTypes": []string{"ipv4"},
		},
	}
	t.Resources["EndpointServicePermissions"] = cfnThing{
		Type: "AWS::EC2::VPCEndpointServicePermissions", Properties: cfnMap{
			"ServiceId": cfnRef("EndpointService"), "AllowedPrincipals": cfnRef("AllowedPrincipals"),
		},
	}
	for _, c := range awsClients(n, groups) {
		t.Outputs["BootstrapPorts"+names[c.key]] = cfnValue{
			"Bootstrap Ports, for the form of a customer of " + c.key, c.value.Bootstrap,
		}
	}
	text, err := indented(t)
	if err != nil {
		return nil, err
	}
	if len(text) > cfnBody {
		warnings = append(warnings, fmt.Sprintf("the template has %d bytes, and the AWS CLI sends at most %d by itself; "+
			"deploy it with --s3-bucket", len(text), cfnBody))
	}
	return &Output{Files: []File{{Name: "kpls.cfn.json", Mode: 0o644, Text: text}}, Warnings: warnings}, nil
}

// cfnNames are the listeners' names as parts of logical ids, which take letters and digits only. Two listeners that
// become equal are refused.
func cfnNames(n *Network) (map[string]string, error) {
	f := faults{origin: n.origin}
	names, first := map[string]string{}, map[string]string{}
	for _, l := range n.Listeners {
		for _, name := range []string{l.Name, l.BootstrapOf} {
			if name == "" || names[name] != "" {
				continue
			}
			id := cfnName(name)
			if other := first[strings.ToLower(id)]; other != "" {
				f.at(l.Name, "listeners."+l.Name, "and %s both become %s in a template of CloudFormation, which has only "+
					"letters and digits in its names; give one of them another name", other, id)
			}
			names[name], first[strings.ToLower(id)] = id, name
		}
	}
	return names, f.err()
}

// cfnName is a listener's name in CamelCase.
func cfnName(listener string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(label(listener), "-") {
		if part == "" {
			continue
		}
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// cfnParameters are what only AWS knows.
func cfnParameters(n *Network, names map[string]string) map[string]cfnParam {
	zones := "each zone of the brokers"
	if z := n.zones(); len(z) > 0 {
		zones = strings.Join(z, ", ")
	}
	p := map[string]cfnParam{
		"VpcId":     {Type: "AWS::EC2::VPC::Id", Description: "The VPC of the brokers"},
		"SubnetIds": {Type: "List<AWS::EC2::Subnet::Id>", Description: "One subnet of the load balancer in " + zones},
		"BrokerSecurityGroupId": {
			Type:        "AWS::EC2::SecurityGroup::Id",
			Description: "A security group that all brokers' VMs have; the load balancer is let in there",
		},
		"AllowedPrincipals": {
			Type: "CommaDelimitedList", Description: "ARNs of who may ask for a connection; each one is accepted by hand",
		},
		"TargetType": {
			Type: "String", Default: "instance", AllowedValues: []string{"instance", "ip"},
			Description: "How BrokerN names a target: instance id or address",
		},
		"DeletionProtection": {
			Type: "String", Default: "true", AllowedValues: []string{"true", "false"},
			Description: "Whether the load balancer is protected from being deleted",
		},
	}
	for _, id := range n.brokerIDs() {
		p["Broker"+id] = cfnParam{
			Type: "String", AllowedPattern: `^(i-[0-9a-f]{8,17}|[0-9]{1,3}(\.[0-9]{1,3}){3})$`,
			Description: "Instance of broker " + id + ", or its address where TargetType is ip",
		}
	}
	for name, id := range names {
		if n.isBootstrap(name) {
			continue
		}
		p["ClientCidr"+id] = cfnParam{
			Type: "String", AllowedPattern: `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`,
			Description: "Where the customers of " + name + " come from, such as 10.250.0.0/16",
		}
	}
	return p
}

// cfnLoadBalancer adds the load balancer and the rules around it.
func cfnLoadBalancer(t *cfn, n *Network, groups []awsGroup, names map[string]string) {
	var in, out []cfnMap
	for _, c := range awsClients(n, groups) {
		for _, r := range c.value.Open {
			in = append(in, cfnMap{
				"IpProtocol": "tcp", "FromPort": r.From, "ToPort": r.To,
				"CidrIp": cfnRef("ClientCidr" + names[c.key]), "Description": "customers of " + c.key,
			})
		}
	}
	for _, port := range n.targetPorts() {
		out = append(out, cfnMap{
			"IpProtocol": "tcp", "FromPort": port, "ToPort": port,
			"DestinationSecurityGroupId": cfnRef("BrokerSecurityGroupId"), "Description": "listeners and probes of the brokers",
		})
		t.Resources[fmt.Sprintf("BrokerIngress%d", port)] = cfnThing{
			Type: "AWS::EC2::SecurityGroupIngress", Properties: cfnMap{
				"GroupId": cfnRef("BrokerSecurityGroupId"), "IpProtocol": "tcp", "FromPort": port, "ToPort": port,
				"SourceSecurityGroupId": cfnRef("LoadBalancerSecurityGroup"), "Description": "load balancer of kpls",
			},
		}
	}
	t.Resources["LoadBalancerSecurityGroup"] = cfnThing{Type: "AWS::EC2::SecurityGroup", Properties: cfnMap{
		"GroupDescription": "Load balancer of the Kafka brokers", "VpcId": cfnRef("VpcId"),
		"SecurityGroupIngress": in, "SecurityGroupEgress": out,
	}}
	t.Resources["LoadBalancer"] = cfnThing{Type: "AWS::ElasticLoadBalancingV2::LoadBalancer", Properties: cfnMap{
		"Type": "network", "Scheme": "internal", "IpAddressType": "ipv4", "Subnets": cfnRef("SubnetIds"),
		"SecurityGroups": []any{cfnRef("LoadBalancerSecurityGroup")},
		// The customers' CIDRs count for private link, too.
		"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "on",
		"LoadBalancerAttributes": []cfnMap{
			{"Key": "load_balancing.cross_zone.enabled", "Value": "false"}, // each target group says for itself
			{"Key": "deletion_protection.enabled", "Value": cfnRef("DeletionProtection")},
		},
		"Tags": cfnTags("kpls-cluster", n.Cluster, "kpls-manifest", n.Manifest),
	}}
}

// cfnTargetGroup is the same as aws_lb_target_group of the module, where the reasons stand.
func cfnTargetGroup(n *Network, g awsGroup) cfnThing {
	interval := int(n.Probe.IntervalSeconds)
	var targets []cfnMap
	for _, id := range g.Brokers {
		targets = append(targets, cfnMap{"Id": cfnRef("Broker" + id), "Port": g.BindPort})
	}
	brokers := "all"
	if !g.Bootstrap {
		brokers = g.Brokers[0]
	}
	return cfnThing{Type: "AWS::ElasticLoadBalancingV2::TargetGroup", Properties: cfnMap{
		"VpcId": cfnRef("VpcId"), "TargetType": cfnRef("TargetType"), "Protocol": "TCP", "Port": g.BindPort,
		"HealthCheckEnabled": true, "HealthCheckProtocol": "TCP", "HealthCheckPort": strconv.Itoa(g.ProbePort),
		"HealthCheckIntervalSeconds": interval, "HealthCheckTimeoutSeconds": min(interval, awsTimeoutSeconds),
		"HealthyThresholdCount": n.Probe.HealthyThreshold, "UnhealthyThresholdCount": awsUnhealthyThreshold,
		"Targets": targets,
		"TargetGroupAttributes": cfnAttributes(
			"preserve_client_ip.enabled", "false",
			"proxy_protocol_v2.enabled", "false",
			"load_balancing.cross_zone.enabled", strconv.FormatBool(g.CrossZone),
			"deregistration_delay.timeout_seconds", strconv.Itoa(awsDeregistrationSeconds),
			"deregistration_delay.connection_termination.enabled", "true",
			"target_health_state.unhealthy.connection_termination.enabled", strconv.FormatBool(g.Bootstrap),
		),
		"Tags": cfnTags("kpls-cluster", n.Cluster, "kpls-listener", g.Listener, "kpls-brokers", brokers),
	}}
}

func cfnListener(g awsGroup, group string) cfnThing {
	return cfnThing{Type: "AWS::ElasticLoadBalancingV2::Listener", Properties: cfnMap{
		"LoadBalancerArn": cfnRef("LoadBalancer"), "Protocol": "TCP", "Port": g.Port,
		"ListenerAttributes": cfnAttributes("tcp.idle_timeout.seconds", strconv.Itoa(awsIdleSeconds)),
		"DefaultActions":     []cfnMap{{"Type": "forward", "TargetGroupArn": cfnRef(group)}},
	}}
}

func cfnTags(pairs ...string) []cfnMap { return cfnAttributes(pairs...) }
