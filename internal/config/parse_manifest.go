package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ParseManifest reads a manifest strictly and checks every rule that one file
// alone can break. name is how faults call the file. The error is Faults, with
// all of them.
func ParseManifest(name string, data []byte) (*Manifest, error) {
	doc := Decode(name, data, ManifestShape())
	if doc.Root == nil {
		return nil, doc.Err()
	}
	b := buildManifest(doc)
	b.check()
	if err := doc.Err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	b.m.Hash, b.m.Origin = hex.EncodeToString(sum[:]), originOf(name, doc.Root)
	b.m.Level, b.m.LevelField = doc.Level, doc.LevelField
	return b.m, nil
}

// ManifestShape declares the manifest.
func ManifestShape() *Shape {
	listener := &Shape{Kind: KindObject, Fields: listenerFields()}
	broker := &Shape{Kind: KindObject, Fields: brokerFields()}
	return &Shape{Kind: KindObject, Fields: []Field{
		{
			Name:     "version",
			Required: true,
			Doc:      "The version of this format.",
			Shape:    Shape{Kind: KindInt, Min: 1, Max: 1, Want: "1, the version of the format that this agent knows"},
		},
		{
			Name:     "cluster",
			Required: true,
			Doc:      "The cluster's name. An agent never accepts a manifest with another name than the first it accepted.",
			Shape: Shape{
				Kind:    KindString,
				Pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`),
				Want:    "a name of 1 to 100 letters, digits, `.`, `_` or `-`",
			},
		},
		{
			Name:  "listeners",
			Doc:   "The managed listeners by name, in any case; Kafka's names are upper case. All other listeners of a broker are left alone.",
			Shape: Shape{Kind: KindMap, Key: listenerNameShape(), Elem: listener},
		},
		{
			Name:  "brokers",
			Doc:   "The table of brokers by `node.id`. May be missing only where every listener does without it.",
			Shape: Shape{Kind: KindMap, Key: brokerIDShape(), Elem: broker},
		},
		{
			Name:  "absent",
			Doc:   "Names of listeners to be removed wherever they still are. A listener is removed only by being moved here.",
			Shape: Shape{Kind: KindList, Elem: listenerNameShape()},
		},
		{
			Name: "broker_properties",
			Doc: "Properties of the whole broker, of a closed list: what shortens the stall of clients in a restart. A line of " +
				"server.properties that somebody else wrote for one of them is left alone, and `check` says so.",
			Shape: Shape{Kind: KindObject, Fields: brokerPropertyFields()},
		},
		{
			Name:  "rollout",
			Doc:   "How the cluster may be restarted.",
			Shape: Shape{Kind: KindObject, Fields: rolloutFields()},
		},
		{
			Name: "load_balancer",
			Doc:  "What the load balancer asks of a broker before it sends clients again.",
			Shape: Shape{Kind: KindObject, Fields: []Field{
				{
					Name:    "healthy_threshold",
					Default: "2",
					Doc:     "Successful probes in a row that bring a broker back.",
					Shape:   Shape{Kind: KindInt, Min: 1, Max: 100},
				},
				{
					Name:    "interval",
					Default: "5s",
					Doc:     "Time between two probes.",
					Shape:   Shape{Kind: KindDuration, Shortest: time.Second, Longest: 5 * time.Minute},
				},
			}},
		},
	}}
}

func listenerFields() []Field {
	return []Field{
		{
			Name:     "bind",
			Required: true,
			Doc: "Where Kafka listens: `0.0.0.0:39092`, one IP address and a port, or `<host>:39092` for the broker's own `host`. Without an address, `\":39092\"`, all are meant, as by `0.0.0.0`; Kafka binds the same socket for both. " +
				"An IPv6 address needs brackets and quotes: `\"[::]:39092\"`.",
			Shape: Shape{
				Kind:  KindString,
				Want:  "HOST:PORT",
				Check: func(s string) string { _, _, text := splitBind(s); return text },
			},
		},
		{
			Name:     "security_protocol",
			Required: true,
			Doc:      "Kafka's security protocol of the listener, in any case.",
			Shape: Shape{
				Kind: KindString,
				Enum: []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"},
				Fold: true,
			},
		},
		{
			Name:  "advertised",
			Unset: "`advertised_by_zone` or `bootstrap` is needed",
			Doc:   "The address that clients connect to, as the console of the cloud service prints it: `<broker_id>` becomes `b` and the broker's id, `<port>` its port. A port written out is the same for all brokers.",
			Shape: patternShape(),
		},
		{
			Name:  "advertised_by_zone",
			Unset: "`advertised` or `bootstrap` is needed",
			Doc:   "Instead of `advertised`: one pattern for each zone, where the name has the zone in it (AWS).",
			Shape: Shape{Kind: KindMap, Key: zoneShape(), Elem: new(patternShape())},
		},
		{
			Name:  "port_base",
			Unset: "the table gives every broker a port",
			Doc:   "The advertised port of a broker that the table gives none is this plus its id.",
			Shape: portShape(),
		},
		{
			Name:  "bootstrap",
			Level: 1,
			Unset: "no shared port",
			Doc:   "Instead of `advertised`: one port of the load balancer that leads to all brokers, where clients learn the addresses of another listener.",
			Shape: Shape{Kind: KindObject, Fields: bootstrapFields()},
		},
		{
			Name:     "probe_port",
			Required: true,
			Doc:      "The port on which the agent answers the load balancer's TCP probe for this listener. It is bound on the address of `bind`.",
			Shape:    portShape(),
		},
		{
			Name:    "during_restart",
			Default: "hold",
			Doc:     "`hold` keeps the probe open through a planned restart (a port that leads to one broker); `close` closes it first (a pool of several brokers), for `drain` and 10 minutes more at most: a restart that does not come keeps no healthy broker out.",
			Shape:   Shape{Kind: KindString, Enum: []string{"hold", "close"}},
		},
		{
			Name:    "hold_limit",
			Default: "60s",
			Doc:     "The longest time a held probe stays open while its broker is down.",
			Shape:   Shape{Kind: KindDuration, Longest: 10 * time.Minute},
		},
		{
			Name:    "drain",
			Default: "10s",
			Doc:     "How long a closed probe stays closed before its broker is stopped.",
			Shape:   Shape{Kind: KindDuration, Longest: 10 * time.Minute},
		},
		{
			Name: "properties",
			Doc:  "Further Kafka properties of the listener, written as `listener.name.<listener>.<key>`. For secrets use Kafka's config providers (`${file:...}`).",
			Shape: Shape{
				Kind: KindMap,
				Key:  propertyKeyShape(),
				Elem: &Shape{Kind: KindText, Check: checkPropertyValue},
			},
		},
	}
}

func brokerFields() []Field {
	return []Field{
		{
			Name:  "ports",
			Unset: "`port_base` or a fixed port is needed",
			Doc:   "The broker's advertised port by listener. A manifest that gives it to another broker is refused while this one stays in the table.",
			Shape: Shape{Kind: KindMap, Key: listenerNameShape(), Elem: new(portShape())},
		},
		{
			Name:  "zone",
			Unset: "a zone of its own",
			Doc:   "Brokers of one zone may be restarted together where `max_unavailable` is more than 1. A number needs quotes.",
			Shape: *zoneShape(),
		},
		{
			Name:  "host",
			Unset: "no `bind` may say `<host>`",
			Doc:   "The broker's own address, for `<host>` in `bind`. The probe binds there too.",
			Shape: Shape{Kind: KindString, Want: "a DNS name or an IP address", Check: CheckHost},
		},
		{
			Name:    "presence",
			Level:   2,
			Default: "required",
			Doc:     "`optional` is for a broker that is yet to come or about to go: nobody waits for it while it is not alive and holds no replica. From the moment it is alive it counts like any other.",
			Shape:   Shape{Kind: KindString, Enum: []string{"required", "optional"}},
		},
	}
}

func rolloutFields() []Field {
	return []Field{
		{
			Name:    "max_unavailable",
			Default: "1",
			Doc:     "How many brokers may be down at the same time; never more than the partitions' replicas allow. The first broker of a roll-out always goes alone, soak included.",
			Shape:   Shape{Kind: KindInt, Min: 1, Max: 1000},
		},
		{
			Name:    "soak",
			Default: "60s",
			Doc:     "How long a restarted broker must stay continuously healthy before the next may go. It gets shorter once two brokers have passed.",
			Shape:   Shape{Kind: KindDuration, Longest: 24 * time.Hour},
		},
		{
			Name:    "unprotected_topics",
			Default: "proceed",
			Doc:     "Topics that no roll-out can protect (replicas <= min.insync.replicas): `proceed` and list them, or `refuse` to restart.",
			Shape:   Shape{Kind: KindString, Enum: []string{"proceed", "refuse"}},
		},
		{
			Name:    "pending_edits",
			Default: "refuse_invalid",
			Doc:     "What to do about lines of server.properties that others have changed since the process was started, because a restart brings them into force: `refuse_invalid` lists them and refuses to restart with a value that Kafka would not start with, `refuse` refuses with any change, `proceed` with none.",
			Shape:   Shape{Kind: KindString, Enum: []string{"refuse_invalid", "refuse", "proceed"}},
		},
	}
}

func portShape() Shape    { return Shape{Kind: KindInt, Min: 1, Max: maxPort} }
func patternShape() Shape { return Shape{Kind: KindString, Want: "HOST:PORT", Check: checkPattern} }

func zoneShape() *Shape {
	return &Shape{
		Kind:    KindString,
		Pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`),
		Want:    "a name of 1 to 100 letters, digits, `.`, `_` or `-`",
	}
}

// listenerName is narrower than Kafka, which takes any name: a `.` or `,` in
// one breaks listener.name.* and the lists.
func listenerNameShape() *Shape {
	return &Shape{
		Kind:    KindString,
		Upper:   true,
		Pattern: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,99}$`),
		Want:    "a listener name: a letter, then letters, digits, `_` or `-`",
	}
}

func brokerIDShape() *Shape {
	return &Shape{
		Kind:    KindString,
		Pattern: regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`),
		Want:    "a broker's node.id, a number from 0 to 2147483647",
		Check: func(s string) string {
			if n, err := strconv.ParseInt(s, 10, 64); err != nil || n > math.MaxInt32 {
				return brokerIDShape().found(s)
			}
			return ""
		},
	}
}

func propertyKeyShape() *Shape {
	return &Shape{
		Kind:    KindString,
		Pattern: regexp.MustCompile(`^[a-z0-9.-]+$`),
		Want:    "a property key of lower-case letters, digits, `.` or `-`",
		Check: func(s string) string {
			if strings.HasPrefix(s, "listener.name.") {
				return fmt.Sprintf("property %q repeats the prefix; write what follows listener.name.NAME.", s)
			}
			return ""
		},
	}
}

// checkPropertyValue never repeats the value: it may be a secret.
func checkPropertyValue(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "the value has a line break or another control character; write it on one line"
	}
	return ""
}

// manifestBuilder turns a decoded manifest into a Manifest and keeps where each part came from.
type manifestBuilder struct {
	doc       *Document
	m         *Manifest
	listeners map[string]*Value
	brokers   map[int32]*Value
}

func buildManifest(doc *Document) *manifestBuilder {
	root := doc.Root
	rollout, lb := root.Get("rollout"), root.Get("load_balancer")
	b := &manifestBuilder{doc: doc, listeners: map[string]*Value{}, brokers: map[int32]*Value{}}
	b.m = &Manifest{
		Cluster: root.Get("cluster").text(),
		Rollout: Rollout{
			rollout.Get("max_unavailable").number(), rollout.Get("soak").duration(),
			rollout.Get("unprotected_topics").text() == "refuse", rollout.Get("pending_edits").text(),
		},
		LoadBalancer: LoadBalancer{lb.Get("healthy_threshold").number(), lb.Get("interval").duration()},
	}
	for _, e := range root.Get("listeners").entries() {
		b.listeners[e.Key] = e.Value
		b.m.Listeners = append(b.m.Listeners, newListener(e.Key, e.Value))
	}
	b.shareAddresses()
	for _, e := range root.Get("brokers").entries() {
		row := newBroker(e.Key, e.Value)
		b.brokers[row.ID] = e.Value
		b.m.Brokers = append(b.m.Brokers, row)
	}
	slices.SortFunc(b.m.Brokers, func(x, y Broker) int { return cmp.Compare(x.ID, y.ID) })
	for _, v := range root.Get("absent").items() {
		b.m.Absent = append(b.m.Absent, v.text())
	}
	for _, p := range brokerProperties {
		if v := root.Get("broker_properties").Get(p.name); v != nil && v.Given && !v.Bad {
			if b.m.BrokerProperties == nil {
				b.m.BrokerProperties = map[string]string{}
			}
			b.m.BrokerProperties[p.name] = strconv.Itoa(v.Int)
		}
	}
	return b
}

func newListener(name string, v *Value) Listener {
	l := Listener{
		Name:             name,
		SecurityProtocol: v.Get("security_protocol").text(),
		Advertised:       v.Get("advertised").text(),
		PortBase:         v.Get("port_base").number(),
		ProbePort:        v.Get("probe_port").number(),
		DuringRestart:    v.Get("during_restart").text(),
		HoldLimit:        v.Get("hold_limit").duration(),
		Drain:            v.Get("drain").duration(),
		AdvertisedByZone: texts(v.Get("advertised_by_zone")),
		Properties:       texts(v.Get("properties")),
	}
	if given := v.Get("bootstrap"); given != nil && given.Given {
		l.Bootstrap = Bootstrap{given.Get("of").text(), given.Get("port").number()}
	}
	if bind := v.Get("bind"); bind.text() != "" {
		l.BindHost, l.BindPort, _ = splitBind(bind.Text)
	}
	return l
}

func newBroker(key string, v *Value) Broker {
	id, _ := strconv.ParseInt(key, 10, 32) // brokerID has checked it
	row := Broker{ID: int32(id), Zone: v.Get("zone").text(), Host: v.Get("host").text()}
	row.Optional = v.Get("presence").text() == "optional"
	for _, e := range v.Get("ports").entries() {
		if row.Ports == nil {
			row.Ports = map[string]int{}
		}
		row.Ports[e.Key] = e.Value.Int
	}
	return row
}

func texts(v *Value) map[string]string {
	var m map[string]string
	for _, e := range v.entries() {
		if m == nil {
			m = map[string]string{}
		}
		m[e.Key] = e.Value.text()
	}
	return m
}
