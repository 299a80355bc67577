package sandbox

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// properties is a node's server.properties: the published procedure's, before
// EXTERNAL is added, with the node's own address where that has 0.0.0.0, since
// here all nodes share a machine.
func (c *Cluster) properties(b *Broker) string {
	internal, controller := "INTERNAL://"+b.Internal(), "CONTROLLER://"+b.Addr(ControllerPort)
	listeners, advertised := internal, internal
	switch b.Role {
	case Combined:
		listeners = internal + "," + controller
	case ControllerOnly:
		listeners, advertised = controller, ""
	case BrokerOnly, ZooKeeper:
	}
	lines := []string{fmt.Sprintf("# broker-node-%d ~/config/server.properties", b.ID)}
	lines = append(lines, c.mode(b)...)
	lines = append(lines, "listeners="+listeners, "inter.broker.listener.name=INTERNAL")
	if advertised != "" {
		lines = append(lines, "advertised.listeners="+advertised)
	}
	lines = append(
		lines,
		"listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
		"log.dirs=./data",
		"# What follows is not in the procedure: it suits a small cluster of short life",
	)
	extra := c.extra(b)
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		lines = append(lines, k+"="+extra[k])
	}
	return strings.Join(lines, "\n") + "\n"
}

// mode is who a node is, and how it finds who controls the cluster.
func (c *Cluster) mode(b *Broker) []string {
	id := strconv.Itoa(int(b.ID))
	if c.opts.ZooKeeper {
		return []string{"broker.id=" + id, "zookeeper.connect=" + c.Broker(zooKeeperID).Addr(zooKeeperPort)}
	}
	lines := []string{"process.roles=" + string(b.Role), "node.id=" + id, "controller.listener.names=CONTROLLER"}
	if !c.opts.DynamicQuorum {
		return append(lines, "controller.quorum.voters="+strings.Join(c.voters(func(v *Broker) string {
			return fmt.Sprintf("%d@%s", v.ID, v.Addr(ControllerPort))
		}), ","))
	}
	return append(
		lines,
		"controller.quorum.bootstrap.servers="+strings.Join(
			c.voters(func(v *Broker) string { return v.Addr(ControllerPort) }), ","),
	)
}

// quorumArgs tell the command that formats a node's storage who the first voters
// are, where the properties do not.
func (c *Cluster) quorumArgs(b *Broker) []string {
	switch {
	case !c.opts.DynamicQuorum:
		return nil
	case b.Role == BrokerOnly:
		return []string{"--no-initial-controllers"}
	}
	return []string{"--initial-controllers", strings.Join(c.voters(func(v *Broker) string {
		// A directory id is a UUID in URL-safe Base64; only its being another for each node matters.
		dir := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "directory%7d", v.ID))
		return fmt.Sprintf("%d@%s:%s", v.ID, v.Addr(ControllerPort), dir)
	}), ",")}
}

// voters are the nodes with the controller role, each as it is to be written.
func (c *Cluster) voters(written func(*Broker) string) []string {
	var voters []string
	for _, b := range c.Nodes {
		if b.Role == Combined || b.Role == ControllerOnly {
			voters = append(voters, written(b))
		}
	}
	return voters
}

// zooKeeperConfig is the configuration of a single ZooKeeper server.
func (c *Cluster) zooKeeperConfig(b *Broker) string {
	return fmt.Sprintf(
		"dataDir=./data\nclientPort=%d\nclientPortAddress=%s\nadmin.enableServer=false\nmaxClientCnxns=0\n",
		zooKeeperPort, b.Host)
}

// extra is what the sandbox and its caller add to the procedure's properties.
func (c *Cluster) extra(b *Broker) map[string]string {
	factor, minISR := strconv.Itoa(min(3, c.opts.Brokers)), strconv.Itoa(min(2, c.opts.Brokers))
	extra := map[string]string{
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.replication.factor":         factor,
		"transaction.state.log.replication.factor": factor,
		"transaction.state.log.min.isr":            minISR,
	}
	if c.opts.Zone != nil && b.Role != ControllerOnly {
		extra["broker.rack"] = c.opts.Zone(b.ID)
	}
	if c.opts.Properties != nil {
		maps.Copy(extra, c.opts.Properties(b.ID))
	}
	return extra
}
