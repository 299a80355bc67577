package config

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes server.properties files: mostly such as people write, some
// with one or two faults, in every spelling that java.util.Properties allows.
type generator struct {
	*rand.Rand
	faulty bool
}

func newGenerator(seed uint64) generator {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.faulty = g.chance(45)
	return g
}

// fault is chance for what Kafka may refuse: sound files have none of it.
func (g generator) fault(percent int) bool { return g.faulty && g.chance(percent) }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

// file returns a file for broker 1 and what a manifest may ask of it.
func (g generator) file() ([]byte, Desired) {
	keys := g.settings()
	g.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	eol := g.pick("\n", "\n", "\n", "\r\n", "\r")
	var b bytes.Buffer
	for _, kv := range keys {
		if g.chance(15) {
			b.WriteString(g.pick("# note", "", "#listeners=A://h:1", "  ! c \\", "# caf\xc3\xa9", "\t") + eol)
		}
		if g.chance(4) { // an earlier line of the same key, which does not count
			b.WriteString(kv[0] + "=spare" + eol)
		}
		b.WriteString(g.spell(kv[0], kv[1], eol))
		b.WriteString(eol)
	}
	file := b.Bytes()
	if g.chance(25) {
		file = bytes.TrimRight(file, "\r\n")
	}
	desired := g.desired()
	if g.chance(20) { // a line for broker_properties, the agent's or somebody else's, that counts or does not
		mark := g.pick(ownMark, ownMark, "# tuned", ownMark+eol) + eol
		line := g.spell(g.pick(BrokerPropertyNames()...), g.pick("50", "50", "1000", " 7"), eol) + eol
		if last := len(file); g.chance(50) && last > 0 && (file[last-1] == '\n' || file[last-1] == '\r') {
			file = append(file, mark+line...)
		} else {
			file = append([]byte(mark+line), file...)
		}
	}
	return file, desired
}

// settings returns keys and values.
func (g generator) settings() [][2]string {
	mode := g.pick("combined", "combined", "combined", "broker", "zookeeper")
	controller := g.pick("CONTROLLER", "CONTROLLER", "CONTROLLER", "CTRL", "SSL", "controller", "CONTROLLER, X")
	if !g.fault(30) {
		controller = "CONTROLLER"
	}
	inter := g.pick("INTERNAL", "INTERNAL", "PLAINTEXT", "REPLICATION")
	names := []string{inter}
	for _, n := range []string{"CLIENT", "EXTERNAL", "EXTERNAL2", "SSL"} {
		if g.chance(20) {
			names = append(names, n)
		}
	}
	bound := names
	if mode == "combined" {
		bound = append([]string{strings.TrimSpace(strings.Split(controller, ",")[0])}, names...)
	}
	kv := [][2]string{{"log.dirs", g.pick("/var/lib/kafka", `C:\kafka`, "./data")}, {"num.io.threads", "8"}}
	add := func(percent int, key, value string) {
		if percent > 90 && !g.faulty || percent < 10 && g.fault(percent) || percent >= 10 && g.chance(percent) {
			kv = append(kv, [2]string{key, value})
		}
	}
	switch mode {
	case "combined":
		add(99, keyRoles, g.pick("broker,controller", "controller, broker", "broker,controller "))
		add(95, keyVoters, "1@10.0.0.11:29092,2@10.0.0.12:29092")
		add(97, keyControllerNames, controller)
	case "broker":
		add(99, keyRoles, "broker")
		add(95, keyVoters, g.voters())
		add(97, keyControllerNames, controller)
	default:
		add(98, keyZooKeeper, "zk:2181")
		add(4, keyControllerNames, controller)
		add(8, keyControlPlane, g.pick(names...))
	}
	add(3, keyBootstrap, "10.0.0.12:29092")
	add(97, keyNodeID, "1")
	add(8, keyBrokerID, g.pick("1", "1", "2"))
	if inter != "PLAINTEXT" || g.chance(20) {
		add(97, keyInterBroker, g.interBroker(inter))
	}
	add(4, keyInterProtocol, g.pick("PLAINTEXT", "SSL", "plaintext"))
	add(4, keyEarlyStart, g.pick("CONTROLLER", "INTERNAL", "EXTERNAL"))
	wild, listed := g.chance(70), false
	if wild || g.fault(50) { // without advertised.listeners Kafka advertises what it binds
		add(99, keyAdvertised, g.list(names, false))
	}
	add(94, keyListeners, g.list(bound, wild))
	for _, n := range names {
		listed = listed || n != "PLAINTEXT"
	}
	if listed || g.chance(50) { // without the map there are the names of the protocols only
		add(93, keyProtocolMap, g.protocolMap(append(names, controller)))
	}
	add(10, "listener.name.external.max.connections", "10")
	add(5, "listener.name.internal.max.connections", "10")
	return kv
}

// list writes listeners, or advertised.listeners, which must not be wild.
func (g generator) list(names []string, wild bool) string {
	var items []string
	for i, name := range names {
		host, port := g.pick("", "10.0.0.11", "broker-1.example", "h_1", "fe80::1", "[::1]"), 9092+i
		if wild {
			host = g.pick("", "0.0.0.0", "0.0.0.0", "[::]")
		}
		if g.fault(4) {
			host = g.pick("0.0.0.0", "::", "[::]", "10.0.0.11", "h/x", "h h")
		}
		if g.fault(3) {
			port = []int{0, -1, 70000, 9092, 99999999999}[g.IntN(5)] // advertised ports may repeat
		}
		if g.fault(3) {
			name = g.pick("CLIENT", "EXTERNAL", "CONTROLLER", "", "UNKNOWN", "A B")
		}
		if g.chance(8) {
			name = strings.ToLower(name)
		}
		items = append(items, fmt.Sprintf("%s://%s:%d", name, host, port))
	}
	if g.fault(2) {
		items = append(items, g.pick("", items[0], "nonsense", "${file:/x:y}"))
	}
	return strings.Join(items, g.pick(",", ",", ", ", " , ", ",,"))
}

// voters are those of a node 1 that is only a broker.
func (g generator) voters() string {
	if g.fault(15) {
		return "1@10.0.0.11:29092"
	}
	return g.pick("2@10.0.0.12:29092", "2@10.0.0.12:29092,3@[::1]:29092")
}

func (g generator) interBroker(name string) string {
	if g.fault(10) {
		return "NOWHERE"
	}
	return g.pick(name, name, strings.ToLower(name))
}

func (g generator) protocolMap(names []string) string {
	items := []string{}
	for _, name := range append(names, "SSL", "CLIENT", "EXTERNAL", "PLAINTEXT") {
		if g.fault(7) {
			continue
		}
		protocol := "PLAINTEXT"
		if g.fault(4) {
			protocol = g.pick("SSL", "SASL_SSL", "plaintext", "TLS", "", "Sasl_Plaintext")
		}
		if g.fault(2) {
			name = strings.ToLower(name)
		}
		items = append(items, name+g.pick(":", ":", ":", " : ")+protocol)
	}
	return strings.Join(items, g.pick(",", ",", ", ")) + g.pick("", "", "", ",")
}

// spell writes a key and a value in one of the ways that mean the same.
func (g generator) spell(key, value, eol string) string {
	if g.chance(5) {
		key = fmt.Sprintf(`%s\u%04X%s`, key[:1], key[1], key[2:])
	}
	value = strings.ReplaceAll(value, `\`, `\\`)
	if g.chance(5) && value != "" {
		value = fmt.Sprintf(`\u%04x%s`, value[0], value[1:])
	}
	if g.chance(5) {
		value = strings.ReplaceAll(value, ":", `\:`)
	}
	if i := strings.IndexByte(value, ','); i >= 0 && g.chance(15) {
		value = value[:i+1] + `\` + eol + g.pick("", "  ", "\t") + value[i+1:]
	}
	if g.fault(2) && len(key) > 3 {
		key = key[:3] + `\` + eol + " " + key[3:]
	}
	sep := "="
	if g.chance(20) {
		sep = g.pick(" = ", ": ", " ", "\t", "=  ", " :", "=\f")
	}
	return g.pick("", "", "", " ", "\t") + key + sep + value + g.pick("", "", "", " ", "\t ")
}

// desired asks for some managed listeners, or for none.
func (g generator) desired() Desired {
	var d Desired
	for i, name := range []string{"EXTERNAL", "EXTERNAL2"} {
		if g.chance(15) {
			d.Absent = append(d.Absent, name)
			continue
		}
		if !g.chance(60) {
			continue
		}
		e := Endpoint{
			Name: name, BindHost: g.pick("0.0.0.0", "", "10.0.0.11", "::1"), BindPort: 39092 + i,
			AdvertisedHost: "b1.example.com", AdvertisedPort: 9093, SecurityProtocol: "PLAINTEXT",
		}
		if g.chance(8) {
			e.BindPort = 9092
		}
		if g.chance(20) {
			e.SecurityProtocol = "SASL_PLAINTEXT"
		}
		if g.chance(40) {
			e.Properties = map[string]string{"max.connections": "100", "scram-sha-512.sasl.jaas.config": `a.b.C required user="ü\"";`}
		}
		d.Endpoints = append(d.Endpoints, e)
	}
	for _, name := range BrokerPropertyNames() {
		if g.chance(25) {
			if d.BrokerProperties == nil {
				d.BrokerProperties = map[string]string{}
			}
			d.BrokerProperties[name] = g.pick("50", "100")
		}
	}
	return d
}

// noise returns bytes in which everything that matters to the format is frequent.
func (g generator) noise() []byte {
	alphabet := []string{"\\", "\\", "\n", "\r", "\r\n", "=", ":", " ", "\t", "\f", "#", "!", "a", "b", "u", "\\u0041", "\\n", "n", "\xe9", "\v", "\x00"}
	var b strings.Builder
	for range g.IntN(24) {
		b.WriteString(alphabet[g.IntN(len(alphabet))])
	}
	return []byte(b.String())
}
