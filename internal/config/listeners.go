package config

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The names of Kafka's properties that this package reads.
const (
	keyListeners       = "listeners"
	keyAdvertised      = "advertised.listeners"
	keyProtocolMap     = "listener.security.protocol.map"
	keyRoles           = "process.roles"
	keyNodeID          = "node.id"
	keyBrokerID        = "broker.id"
	keyControllerNames = "controller.listener.names"
	keyInterBroker     = "inter.broker.listener.name"
	keyInterProtocol   = "security.inter.broker.protocol"
	keyControlPlane    = "control.plane.listener.name"
	keyEarlyStart      = "early.start.listeners"
	keyVoters          = "controller.quorum.voters"
	keyBootstrap       = "controller.quorum.bootstrap.servers"
	keyZooKeeper       = "zookeeper.connect"
	keyMigration       = "zookeeper.metadata.migration.enable"
	keyRemoteStorage   = "remote.log.storage.system.enable"
	keyRemoteListener  = "remote.log.metadata.manager.listener.name"
	keyInterMechanism  = "sasl.mechanism.inter.broker.protocol"
	keyMechanisms      = "sasl.enabled.mechanisms"
	keyReservedID      = "reserved.broker.max.id"
	keyGenerateID      = "broker.id.generation.enable"
	prefixListener     = "listener.name."
)

// Kafka's defaults for them (SocketServerConfigs, ReplicationConfigs).
const (
	defaultListeners   = "PLAINTEXT://:9092"
	defaultProtocolMap = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"
)

// listenerItem is one element of `listeners` or `advertised.listeners`.
type listenerItem struct {
	name string // upper case
	host string // without brackets; empty stands for all addresses or for the host's own name
	port int
	text string // as it is written
}

// sameAddress is true if two items stand for the same host and port, however written.
func (a listenerItem) sameAddress(b listenerItem) bool { return a.host == b.host && a.port == b.port }

// anyIPv4 is how bound writes a host to bind that is left out.
const anyIPv4 = "0.0.0.0"

// bound is an item of `listeners` with the host that a socket is bound to. An
// empty host and 0.0.0.0 are the same to Java: every address of the machine, those
// of IPv6 included unless the JVM runs with -Djava.net.preferIPv4Stack=true. The
// host :: is not the same: with that option Java cannot bind it.
func (a listenerItem) bound() listenerItem {
	if a.host == "" {
		a.host = anyIPv4
	}
	return a
}

// sameBinding is sameAddress for items of `listeners`.
func (a listenerItem) sameBinding(b listenerItem) bool { return a.bound().sameAddress(b.bound()) }

// address is host:port as people read it and as fingerprints compare it.
func (a listenerItem) address() string {
	if strings.Contains(a.host, ":") {
		return fmt.Sprintf("[%s]:%d", a.host, a.port)
	}
	return fmt.Sprintf("%s:%d", a.host, a.port)
}

// newListenerItem writes an item as Kafka parses it.
func newListenerItem(name, host string, port int) listenerItem {
	item := listenerItem{name: name, host: strings.Trim(host, "[]"), port: port}
	item.text = name + "://" + item.address()
	return item
}

var (
	// kafkaComma is how Kafka splits lists. Its \s is ASCII, with the vertical tab.
	kafkaComma = regexp.MustCompile(`[ \t\n\v\f\r]*,[ \t\n\v\f\r]*`)
	// kafkaEndpoint is EndPoint.scala's uriParseExp, anchored as a pattern match is.
	kafkaEndpoint = regexp.MustCompile(`(?s)^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)
	// writtenListener is narrower than Kafka's rule (anything not blank): with the
	// characters left out Kafka's own parsing of maps and prefixes goes astray, or
	// upper case depends on more than ASCII.
	writtenListener = regexp.MustCompile(`^[0-9A-Za-z_.-]+$`)
)

// trimJava is String.trim: every character up to the blank goes, at both ends.
func trimJava(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

// splitList splits a value at its commas with the blanks around them, keeping empty items.
func splitList(value string) []string {
	value = trimJava(value)
	if value == "" {
		return nil
	}
	return kafkaComma.Split(value, -1)
}

// splitNonEmpty is splitList without empty items.
func splitNonEmpty(value string) []string {
	return slices.DeleteFunc(splitList(value), func(s string) bool { return s == "" })
}

// parseListenerItem reads one element of a listener list. The error is the rule
// and what is wrong with it.
func parseListenerItem(text string) (listenerItem, *listFault) {
	m := kafkaEndpoint.FindStringSubmatch(text)
	if m == nil {
		return listenerItem{}, &listFault{"S3", fmt.Sprintf("%q is not NAME://host:port", text)}
	}
	if !writtenListener.MatchString(m[1]) {
		return listenerItem{}, &listFault{
			"S5", fmt.Sprintf("%q is not a listener name of letters, digits, '_', '-' and '.'", m[1]),
		}
	}
	port, err := strconv.ParseInt(m[3], 10, 32)
	if err != nil || port < math.MinInt32 {
		return listenerItem{}, &listFault{"S4", fmt.Sprintf("the port of %q is not a number that Kafka can read", text)}
	}
	return listenerItem{name: strings.ToUpper(m[1]), host: m[2], port: int(port), text: text}, nil
}

// listFault is a fault of a value, before it is known which file and line it is from.
type listFault struct{ rule, text string }

// parseListenerList reads `listeners` or `advertised.listeners` and ignores
// empty items, which are for validate to judge by the version.
func parseListenerList(value string) ([]listenerItem, *listFault) {
	var items []listenerItem
	for _, text := range splitNonEmpty(value) {
		item, fault := parseListenerItem(text)
		if fault != nil {
			return nil, fault
		}
		items = append(items, item)
	}
	return items, nil
}

// joinItems writes a list of items.
func joinItems(items []listenerItem) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.text
	}
	return strings.Join(texts, ",")
}

// findItem returns the place of a listener in a list, -1 if it is not there.
func findItem(items []listenerItem, name string) int {
	return slices.IndexFunc(items, func(i listenerItem) bool { return i.name == name })
}

// mapItem is one element of `listener.security.protocol.map`.
type mapItem struct {
	name     string // upper case
	protocol string // upper case
	text     string
}

// parseProtocolMap reads a protocol map (Csv.parseCsvMap, SecurityProtocol.forName).
func parseProtocolMap(value string) ([]mapItem, *listFault) {
	texts := splitList(value)
	for len(texts) > 0 && texts[len(texts)-1] == "" { // String.split drops empty strings at the end, only there
		texts = texts[:len(texts)-1]
	}
	var items []mapItem
	for _, text := range texts {
		i := strings.LastIndexByte(text, ':')
		if i < 0 {
			return nil, &listFault{"S6", fmt.Sprintf("%q is not NAME:PROTOCOL", text)}
		}
		item := mapItem{name: trimJava(text[:i]), protocol: strings.ToUpper(trimJava(text[i+1:])), text: text}
		if !writtenListener.MatchString(item.name) {
			return nil, &listFault{
				"S5", fmt.Sprintf("%q is not a listener name of letters, digits, '_', '-' and '.'", item.name),
			}
		}
		upper := strings.ToUpper(item.name)
		for _, other := range items {
			if other.name == upper && keyOfMapItem(other) != item.name {
				return nil, &listFault{"S8", fmt.Sprintf("%s is there twice, in upper and lower case", upper)}
			}
		}
		item.name = upper
		items = append(items, item)
	}
	for _, item := range items {
		if protocol, _ := lookupProtocol(items, item.name); !isProtocol(protocol) {
			return nil, &listFault{
				"S7", fmt.Sprintf("the protocol of %s is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", item.name),
			}
		}
	}
	return items, nil
}

// keyOfMapItem is the name as it is written.
func keyOfMapItem(m mapItem) string {
	return trimJava(m.text[:strings.LastIndexByte(m.text, ':')])
}

// lookupProtocol returns the protocol of a listener; the last entry of a name counts.
func lookupProtocol(items []mapItem, name string) (string, bool) {
	for _, item := range slices.Backward(items) {
		if item.name == name {
			return item.protocol, true
		}
	}
	return "", false
}

func isProtocol(s string) bool {
	return s == "PLAINTEXT" || usesTLS(s) || usesSASL(s)
}

func usesTLS(protocol string) bool { return protocol == "SSL" || protocol == "SASL_SSL" }

func usesSASL(protocol string) bool { return protocol == "SASL_PLAINTEXT" || protocol == "SASL_SSL" }

// isUnspecified is true for 0.0.0.0, :: and their other spellings.
func isUnspecified(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}
