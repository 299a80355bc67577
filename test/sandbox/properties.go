package sandbox

import (
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
	roles, listeners, advertised := "broker,controller", "", ""
	internal, controller := "INTERNAL://"+b.Internal(), "CONTROLLER://"+b.Addr(ControllerPort)
	switch {
	case b.ControllerOnly:
		roles, listeners = "controller", controller
	case c.opts.Controllers > 0:
		roles, listeners, advertised = "broker", internal, internal
	default:
		listeners, advertised = internal+","+controller, internal
	}
	lines := []string{
		fmt.Sprintf("# broker-node-%d ~/config/server.properties", b.ID),
		"process.roles=" + roles,
		"node.id=" + strconv.Itoa(int(b.ID)),
		"controller.quorum.voters=" + c.voters(),
		"listeners=" + listeners,
		"inter.broker.listener.name=INTERNAL",
	}
	if advertised != "" {
		lines = append(lines, "advertised.listeners="+advertised)
	}
	lines = append(lines,
		"controller.listener.names=CONTROLLER",
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

// extra is what the sandbox and its caller add to the procedure's properties.
func (c *Cluster) extra(b *Broker) map[string]string {
	factor, minISR := strconv.Itoa(min(3, c.opts.Brokers)), strconv.Itoa(min(2, c.opts.Brokers))
	extra := map[string]string{
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.replication.factor":         factor,
		"transaction.state.log.replication.factor": factor,
		"transaction.state.log.min.isr":            minISR,
	}
	if c.opts.Properties != nil {
		maps.Copy(extra, c.opts.Properties(b.ID))
	}
	return extra
}

func (c *Cluster) voters() string {
	var voters []string
	for _, b := range c.Nodes {
		if b.ControllerOnly || c.opts.Controllers == 0 {
			voters = append(voters, fmt.Sprintf("%d@%s", b.ID, b.Addr(ControllerPort)))
		}
	}
	return strings.Join(voters, ",")
}
