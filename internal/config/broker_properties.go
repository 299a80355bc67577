package config

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// brokerProperty is one of the properties of a whole broker that a manifest may set.
type brokerProperty struct {
	name string
	doc  string // for the reference
}

// brokerProperties are all of them: properties that shorten what clients feel of a restart, whose every value in
// Kafka's range lets a broker start, and which no dynamic configuration can set (DynamicBrokerConfig.AllDynamicConfigs
// of 3.7 to 4.4 has neither). Both are INT with the range [0,...] (ReplicationConfigs, KRaftConfigs).
var brokerProperties = []brokerProperty{
	{
		"metadata.max.idle.interval.ms",
		"How often the active controller writes to an idle metadata log. Up to Kafka 4.0 the brokers hear of a new leader " +
			"only with the next write; Kafka's own value is 500.",
	},
	{
		"replica.fetch.backoff.ms",
		"How long a follower waits after a leader has refused it, such as one that does not lead yet; Kafka's own value is 1000.",
	},
}

// BrokerPropertyNames are the names that `broker_properties` takes, in their order.
func BrokerPropertyNames() []string {
	names := make([]string, len(brokerProperties))
	for i, p := range brokerProperties {
		names[i] = p.name
	}
	return names
}

func isBrokerProperty(key string) bool {
	return slices.ContainsFunc(brokerProperties, func(p brokerProperty) bool { return p.name == key })
}

func brokerPropertyFields() []Field {
	fields := make([]Field, len(brokerProperties))
	for i, p := range brokerProperties {
		fields[i] = Field{
			Name: p.name, Doc: p.doc, Unset: "not written",
			Shape: Shape{Kind: KindInt, Min: 0, Max: math.MaxInt32},
		}
	}
	return fields
}

// ownMark is the comment before a line of server.properties that was written for `broker_properties`. It alone tells
// such a line from one of somebody else's, which is never touched: no state of the agent has to be kept for it, and a
// person who reads the file sees it.
const ownMark = "# The next line is kpls-agent's: broker_properties in its manifest."

// markStart is where the mark begins that makes an entry the agent's; ok is false if it is somebody else's.
func (p *propFile) markStart(entry int) (start int, ok bool) {
	e := p.entries[entry]
	if !isBrokerProperty(e.key) {
		return 0, false
	}
	before := p.data[:e.start]
	if n := len(before); n > 0 && before[n-1] == '\n' {
		before = before[:n-1]
	}
	if n := len(before); n > 0 && before[n-1] == '\r' {
		before = before[:n-1]
	}
	start = bytes.LastIndexAny(before, "\r\n") + 1
	if entry > 0 && start < p.entries[entry-1].end {
		return 0, false // the mark's words continue another value
	}
	return start, string(before[start:]) == ownMark
}

// ownLast is true if such a line is the one that counts for its key.
func (p *propFile) ownLast(key string) bool {
	i, ok := p.last[key]
	if ok {
		_, ok = p.markStart(i)
	}
	return ok
}

// hasOwn is true if any such line is there.
func (p *propFile) hasOwn(key string) bool {
	for i, e := range p.entries {
		if e.key == key {
			if _, own := p.markStart(i); own {
				return true
			}
		}
	}
	return false
}

// planBroker works out the changes for `broker_properties`. Where the line that counts is somebody else's, nothing is
// written: leftAlone tells of it.
func (c *brokerConfig) planBroker(d Desired) []propEdit {
	var edits []propEdit
	for _, p := range brokerProperties {
		want, wanted := d.BrokerProperties[p.name]
		switch {
		case !wanted && c.hasOwn(p.name):
			edits = append(edits, propEdit{key: p.name, remove: true, own: true})
		case wanted && (!c.has(p.name) || c.ownLast(p.name) && !sameValue(typeInt, c.text(p.name), want)):
			edits = append(edits, propEdit{key: p.name, value: want, own: true})
		}
	}
	return edits
}

// ownValues are the `broker_properties` that the file has by lines written for them.
func (c *brokerConfig) ownValues(d Desired) map[string]string {
	out := map[string]string{}
	for name, want := range d.BrokerProperties {
		if c.ownLast(name) {
			out[name] = want
		}
	}
	return out
}

// leftAlone says which lines of somebody else's stand in the way of `broker_properties`.
func (c *brokerConfig) leftAlone(d Desired) []string {
	var out []string
	for _, p := range brokerProperties {
		want, wanted := d.BrokerProperties[p.name]
		if wanted && c.has(p.name) && !c.ownLast(p.name) && !sameValue(typeInt, c.text(p.name), want) {
			out = append(out, fmt.Sprintf("%s:%d: %s=%s is somebody else's line, so it stays; the manifest's broker_properties "+
				"asks for %s and has no effect; delete this line, or the name in broker_properties",
				c.path, c.line(p.name), p.name, c.text(p.name), want))
		}
	}
	return out
}

// RunningBrokerProperties returns those of the properties of `broker_properties` that the process was started with,
// whoever wrote them: name -> value.
func RunningBrokerProperties(entries map[string]RunningValue) map[string]string {
	out := map[string]string{}
	for _, p := range brokerProperties {
		if s, ok := entries[p.name].set(p.name, SourceStatic); ok {
			out[p.name] = trimJava(s.Value)
			if n, err := strconv.ParseInt(out[p.name], 10, 32); err == nil {
				out[p.name] = strconv.FormatInt(n, 10)
			}
		}
	}
	return out
}

// StallProperties are those of `broker_properties` that shorten the stall of a restart in a version of Kafka: with 4.1
// and later the brokers hear of a new leader without the next write to the metadata log.
func StallProperties(v Version) []string {
	if v.IsZero() || v.Major < 4 || v.Major == 4 && v.Minor < 1 {
		return []string{"metadata.max.idle.interval.ms", "replica.fetch.backoff.ms"}
	}
	return []string{"replica.fetch.backoff.ms"}
}
