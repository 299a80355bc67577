package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// RunningValue is one entry of what a broker answers to DescribeConfigs(BROKER).
type RunningValue struct {
	// Value is empty if the broker keeps it secret, or has none.
	Value string
	// Hidden is true if the broker keeps the value secret.
	Hidden bool
	// Dynamic is true if the value comes from a dynamic configuration instead of
	// server.properties (source 2 or 3).
	Dynamic bool
	// Type is Kafka's type of the property, such as INT; empty or UNKNOWN where it has none.
	Type string
	// Settings are all values that somebody set, and Kafka's own, the one that wins first.
	Settings []Setting
}

// hiddenValue stands for a value in a fingerprint that the broker does not tell.
const hiddenValue = "hidden"

// Fingerprints returns, for each managed listener, one line that is equal to what
// RunningFingerprints returns for it exactly if the process runs it as asked for,
// as far as a process can be asked: Rendered.HiddenChanges tells the rest.
func (d Desired) Fingerprints() map[string]string {
	out := map[string]string{}
	for _, e := range d.Endpoints {
		out[e.Name] = fingerprint(
			newListenerItem(e.Name, e.BindHost, e.BindPort),
			[]listenerItem{
				newListenerItem(e.Name, e.AdvertisedHost, e.AdvertisedPort),
			},
			e.SecurityProtocol,
			e.Properties,
		)
	}
	return out
}

// fingerprint writes the canonical line. The advertised list has one item at most.
func fingerprint(bind listenerItem, advertised []listenerItem, protocol string, properties map[string]string) string {
	var b strings.Builder
	b.WriteString(bind.bound().address())
	if len(advertised) > 0 {
		b.WriteString(" advertised " + advertised[0].address())
	} else {
		b.WriteString(" not advertised")
	}
	b.WriteString(" " + protocol)
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		value := hiddenValue
		if shownByBroker(key) {
			value = trimJava(properties[key])
			if value == "" || value == hiddenValue ||
				strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
				value = strconv.Quote(value)
			}
		}
		fmt.Fprintf(&b, " %s=%s", key, value)
	}
	return b.String()
}

// CanonicalFingerprint writes a fingerprint of an earlier version, which kept an
// empty host to bind, as fingerprints are now.
func CanonicalFingerprint(f string) string {
	if strings.HasPrefix(f, ":") {
		return anyIPv4 + f
	}
	return f
}

// RunningFingerprints returns one line for every listener the process runs, from
// all entries that the broker answered for itself. An answer without the
// listeners, or one that makes no sense, is an error: then nothing is known.
func RunningFingerprints(entries map[string]RunningValue) (map[string]string, error) {
	c, err := runningConfig(entries)
	if err != nil {
		return nil, fmt.Errorf("understand the broker's running configuration: %w", err)
	}
	out := map[string]string{}
	for _, l := range c.listeners {
		protocol, ok := lookupProtocol(c.protocols, l.name)
		if !ok {
			return nil, fmt.Errorf(
				"understand the broker's running configuration: listener %s has no security protocol", l.name)
		}
		var advertised []listenerItem
		if i := findItem(c.advertised, l.name); i >= 0 {
			advertised = c.advertised[i : i+1]
		}
		properties := map[string]string{}
		for key, v := range entries {
			if name, ok := strings.CutPrefix(key, listenerPrefix(l.name)); ok {
				properties[name] = v.Value
			}
		}
		out[l.name] = fingerprint(l, advertised, protocol, properties)
	}
	return out, nil
}

// runningConfig reads the answer as if it were a file. What the broker has no
// value for is not set. The default of the map is shown as the four protocols;
// that of the controllers is not shown and has to be added.
func runningConfig(entries map[string]RunningValue) (*brokerConfig, error) {
	if entries[keyListeners].Value == "" {
		return nil, errors.New("it names no listeners")
	}
	p := &propFile{path: "DescribeConfigs", last: map[string]int{}}
	for key, v := range entries {
		if v.Value != "" {
			p.last[key] = len(p.entries)
			p.entries = append(p.entries, propEntry{key: key, value: v.Value})
		}
	}
	// Whatever the version, no name of a controller has blanks around it in a
	// process that runs.
	c, err := newBrokerConfig(p, Version{Major: 4, Minor: 1, Patch: -1})
	if err != nil {
		return nil, err
	}
	for _, name := range c.controllers {
		if _, ok := lookupProtocol(c.protocols, name); !ok {
			c.protocols = append(c.protocols, mapItem{name: name, protocol: "PLAINTEXT"})
		}
	}
	return c, nil
}

// DynamicOverrides names, in order, the properties for which a dynamic
// configuration decides and not the file: of the three listener properties any,
// of the managed listeners' own those that the process runs otherwise than
// desired (a dynamic value that agrees, such as a key store read again, does no harm).
func DynamicOverrides(entries map[string]RunningValue, desired Desired) []string {
	var out []string
	for _, key := range []string{keyListeners, keyAdvertised, keyProtocolMap} {
		if entries[key].Dynamic {
			out = append(out, key)
		}
	}
	for _, e := range desired.Endpoints {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			name, ok := strings.CutPrefix(key, listenerPrefix(e.Name))
			want, named := e.Properties[name]
			v := entries[key]
			if ok && v.Dynamic && (!named || shownByBroker(name) && trimJava(v.Value) != trimJava(want)) {
				out = append(out, key)
			}
		}
	}
	return out
}
