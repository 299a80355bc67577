package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// PendingEdit is a property that differs between server.properties and what the process was
// started with. Running and File are as written; empty is: not set.
type PendingEdit struct {
	Name, Running, File string
	// Invalid is why Kafka would not start with the value of the file; empty where it would,
	// or where that is not certain.
	Invalid string
	// Override is true where File is not a line of the file: the next start takes it from --override
	// on the command line.
	Override bool
}

// secretValue stands for a value that is not shown.
const secretValue = "(not shown)"

// Pending returns, by name, what a restart would bring that is not the manifest's: every
// property of the file that the process was not started with, and every one that it was and
// that is gone. What is compared is what Kafka calls the static value, since the one in force
// is normalised. Values that Kafka does not tell, and those that a config provider gives, are
// compared by their being there. With Under, the properties of the command line are what a start
// finds in place of their lines.
func Pending(entries map[string]RunningValue, file *Properties, desired Desired, v Version) []PendingEdit {
	p := file.file
	names := maps.Clone(p.last)
	for name, e := range entries {
		if _, ok := e.set(name, SourceStatic); ok {
			names[name] = 0
		}
	}
	out := pendingListeners(entries, p, desired)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if managedKey(name, desired) || ownBrokerProperty(name, p) {
			continue
		}
		if e, differs := pendingEdit(name, entries[name], p, v); differs {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b PendingEdit) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// managedKey is true for what the manifest decides on, and for the two names of the id, of
// which Kafka sets both.
func managedKey(name string, d Desired) bool {
	switch name {
	case keyListeners, keyAdvertised, keyProtocolMap, keyNodeID, keyBrokerID:
		return true
	}
	return d.scopedKey(name)
}

// ownBrokerProperty is true for a property of `broker_properties` whose line is the agent's, and for one without a
// line: the agent may have removed its own, and what the process has of it is no edit of somebody else then.
func ownBrokerProperty(name string, p *propFile) bool {
	return isBrokerProperty(name) && (!p.has(name) || p.ownLast(name))
}

func pendingEdit(name string, running RunningValue, p *propFile, v Version) (PendingEdit, bool) {
	value, inFile := p.get(name)
	static, inProcess := running.set(name, SourceStatic)
	secret := running.Hidden || static.Secret || secretProperty(baseName(name), v)
	switch {
	case inFile && inProcess && (secret || placeholder(value) || sameValue(running.Type, static.Value, value)):
		return PendingEdit{}, false
	case !inFile && !inProcess:
		return PendingEdit{}, false
	}
	e := PendingEdit{Name: name}
	if inFile {
		e.Override = p.line(name) == 0
		if e.File = value; secret {
			e.File = secretValue
		}
		e.Invalid = RefusedValue(name, value, v)
	}
	if inProcess {
		if e.Running = static.Value; secret {
			e.Running = secretValue
		}
	}
	return e, true
}

// Hidden returns, by name, the lines of a file that --override on the command line hides: Running is
// the override, File the line. The manifest's own properties are not among them.
func Hidden(
	entries map[string]RunningValue,
	file *Properties,
	overrides map[string]string,
	desired Desired,
	v Version,
) []PendingEdit {
	var out []PendingEdit
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		line, inFile := file.Get(name)
		if !inFile || managedKey(name, desired) || sameValue(entries[name].Type, line, overrides[name]) {
			continue
		}
		e := PendingEdit{Name: name, Running: overrides[name], File: line}
		if entries[name].Hidden || secretProperty(baseName(name), v) {
			e.Running, e.File = secretValue, secretValue
		}
		out = append(out, e)
	}
	return out
}

// baseName is a property's name without a listener's prefix, and without a mechanism's.
func baseName(name string) string {
	rest, ok := strings.CutPrefix(name, prefixListener)
	if !ok {
		return name
	}
	_, base, _ := strings.Cut(rest, ".")
	for _, of := range []string{
		"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class",
		"connections.max.reauth.ms",
	} {
		if strings.HasSuffix(base, "."+of) {
			return of
		}
	}
	return base
}

// pendingListeners compares the listeners that are not the manifest's. Nothing is said where a
// dynamic setting or a config provider decides, or where one of the two cannot be understood:
// that is refused elsewhere.
func pendingListeners(entries map[string]RunningValue, p *propFile, d Desired) []PendingEdit {
	for _, key := range []string{keyListeners, keyAdvertised, keyProtocolMap} {
		if entries[key].Dynamic || placeholder(p.text(key)) {
			return nil
		}
	}
	now, err := RunningListeners(entries)
	if err != nil {
		return nil
	}
	c, err := newBrokerConfig(p, Version{Major: 4, Minor: 1, Patch: -1})
	if err != nil {
		return nil
	}
	describe := func(list []Effective) map[string]string {
		out := map[string]string{}
		for _, l := range list {
			if !slices.Contains(d.names(), l.Name) {
				out[l.Name] = l.describe()
			}
		}
		return out
	}
	running, file := describe(now), describe(c.effective())
	names := maps.Clone(running)
	maps.Copy(names, file)
	var out []PendingEdit
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if running[name] != file[name] {
			out = append(out, PendingEdit{Name: "listener " + name, Running: running[name], File: file[name]})
		}
	}
	return out
}

func (l Effective) describe() string {
	bind := newListenerItem(l.Name, l.BindHost, l.BindPort).bound()
	s := fmt.Sprintf("%s://%s %s", l.Name, bind.address(), l.SecurityProtocol)
	if l.Advertised {
		s += " advertised " + newListenerItem(l.Name, l.AdvertisedHost, l.AdvertisedPort).address()
	}
	return s
}

// TakeBack is the file without those edits with which Kafka would not start: each has the value
// again that the process was started with. With no such edit it is the file's bytes.
func TakeBack(file *Properties, edits []PendingEdit) ([]byte, error) {
	var back []propEdit
	for _, e := range edits {
		if e.Invalid != "" && !e.Override {
			back = append(back, propEdit{key: e.Name, value: e.Running, remove: e.Running == ""})
		}
	}
	if len(back) == 0 {
		return file.file.data, nil
	}
	out, _, err := file.file.edit(back)
	return out, err
}
