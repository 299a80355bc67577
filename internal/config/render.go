package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RenderInput is what Render works on.
type RenderInput struct {
	// Path names the file in messages; it is not read.
	Path string
	// File is the content of server.properties.
	File []byte
	// BrokerID is the id this broker must have.
	BrokerID int32
	// Desired is what the manifest asks of this broker.
	Desired Desired
	// Agents is the listener over which the agents talk to the brokers, if that is
	// not the inter-broker listener; it must not be a managed one.
	Agents string
	// Origin is where the manifest has what is desired; the zero value is not known.
	Origin Origin
	// Version is Kafka's version.
	Version Version
	// Exists tells whether a file of the broker's machine is there; it is asked
	// for key stores, for warnings only. Nil is: do not look.
	Exists func(path string) bool
}

// Rendered is a server.properties that does what the manifest asks for.
type Rendered struct {
	// File is the new content; the bytes of RenderInput.File if nothing changes.
	File    []byte
	Changed bool
	// HiddenChanges is true if a property of a managed listener changes that
	// DescribeConfigs does not show, or if one of the broker is taken back: the running
	// process cannot be asked whether it has what the new file says.
	HiddenChanges bool
	// BrokerProperties are those of Desired.BrokerProperties that the new file has by
	// lines of the agent's: where somebody else's line counts, that one is left alone.
	BrokerProperties map[string]string
	// Listeners is every listener of the new file.
	Listeners []Effective
	// Keys are the properties that change, in the order of the file, without their values.
	Keys []string
	// Diff is a unified diff without context, and without secret values.
	Diff string
	// Warnings are one line each: what Kafka may stumble over although the file
	// alone does not prove it.
	Warnings []string
}

// Render edits a server.properties. Where the effective values already agree
// with Desired, however they are written, no byte changes. An error is a *Refusal.
func Render(in RenderInput) (*Rendered, error) {
	r, err := renderFile(in)
	return r, in.Origin.attribute(err)
}

func renderFile(in RenderInput) (*Rendered, error) {
	if err := in.Desired.check(in.Path); err != nil {
		return nil, err
	}
	old, err := readBroker(in)
	if err != nil {
		return nil, already(err)
	}
	out, changes, err := old.edit(old.plan(in.Desired))
	if err != nil {
		return nil, err
	}
	result, err := readBroker(
		RenderInput{
			Path:     in.Path,
			File:     out,
			BrokerID: in.BrokerID,
			Desired:  in.Desired,
			Agents:   in.Agents,
			Version:  in.Version,
		},
	)
	if err != nil {
		return nil, fmt.Errorf("read the new server.properties: %w", err)
	}
	if err := result.validate(); err != nil {
		return nil, blame(err, old, in)
	}
	if err := old.verify(result, in.Desired); err != nil {
		return nil, err
	}
	warnings, err := result.checkSecurity(in.Desired, in.Exists)
	if err != nil {
		return nil, err
	}
	return &Rendered{
		File:             out,
		Changed:          !bytes.Equal(out, in.File),
		HiddenChanges:    hiddenChanges(old, result, in.Desired),
		BrokerProperties: result.ownValues(in.Desired),
		Listeners:        result.effective(),
		Keys:             keysOf(changes),
		Diff:             unifiedDiff(in.Path, changes),
		Warnings:         slices.Concat(old.foreign(in.Desired), old.leftAlone(in.Desired), warnings),
	}, nil
}

// readBroker reads a file as far as it must be understood before it is edited.
func readBroker(in RenderInput) (*brokerConfig, error) {
	p, err := readProperties(in.Path, in.File)
	if err != nil {
		return nil, err
	}
	if err := p.crossCheck(ownReading); err != nil {
		return nil, err
	}
	if err := p.checkNode(); err != nil {
		return nil, err
	}
	if id := p.id(); id != in.BrokerID {
		key := keyNodeID
		if !p.has(key) {
			key = keyBrokerID
		}
		return nil, p.fault("ID", key, fmt.Sprintf("%s is %d, and this agent serves broker %d", key, id, in.BrokerID),
			"correct the one that is wrong")
	}
	if err := p.checkClash(in.Desired.names(), in.Agents); err != nil {
		return nil, err
	}
	return newBrokerConfig(p, in.Version)
}

// ownReading is true for the properties that this package draws conclusions from.
func ownReading(key string) bool {
	switch key {
	case keyListeners, keyAdvertised, keyProtocolMap, keyRoles, keyNodeID, keyBrokerID, keyControllerNames,
		keyInterBroker, keyInterProtocol, keyControlPlane, keyEarlyStart, keyVoters, keyBootstrap, keyZooKeeper,
		keyMigration, keyRemoteStorage, keyRemoteListener, keyInterMechanism, keyMechanisms, keyReservedID,
		keyGenerateID:
		return true
	}
	return strings.HasPrefix(key, prefixListener) || isBrokerProperty(key)
}

// already marks a refusal of the file as it is.
func already(err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		r.Already = r.Rule != "NAME" && r.Rule != "ID"
	}
	return err
}

// names are the managed listeners and those to be removed.
func (d Desired) names() []string {
	var names []string
	for _, e := range d.Endpoints {
		names = append(names, e.Name)
	}
	return append(names, d.Absent...)
}

// plan works out the properties to change. Each of the three lists is left alone
// if it has the effect asked for already, also if it is not there at all.
func (c *brokerConfig) plan(d Desired) []propEdit {
	var edits []propEdit
	listeners := mergeItems(c.listeners, d, listenerItem.sameBinding, func(e Endpoint) listenerItem {
		return newListenerItem(e.Name, e.BindHost, e.BindPort)
	})
	if !sameItems(listeners, c.listeners, listenerItem.sameBinding) {
		edits = append(edits, propEdit{key: keyListeners, value: joinItems(listeners)})
	}
	advertised := mergeItems(c.advertised, d, listenerItem.sameAddress, func(e Endpoint) listenerItem {
		return newListenerItem(e.Name, e.AdvertisedHost, e.AdvertisedPort)
	})
	current := c.advertised
	if !c.has(keyAdvertised) {
		current = c.defaultAdvertised(listeners) // what leaving it out would mean from now on
	}
	if !sameItems(advertised, current, listenerItem.sameAddress) {
		edits = append(edits, propEdit{key: keyAdvertised, value: joinItems(advertised)})
	}
	protocols := mergeProtocols(c.protocols, d)
	now := c.protocols
	if !c.has(keyProtocolMap) {
		now = c.defaultProtocols(listeners)
	}
	if !sameProtocols(protocols, now, c.has(keyProtocolMap)) {
		texts := make([]string, len(protocols))
		for i, p := range protocols {
			texts[i] = p.text
		}
		edits = append(edits, propEdit{key: keyProtocolMap, value: strings.Join(texts, ",")})
	}
	return append(append(edits, c.planScoped(d)...), c.planBroker(d)...)
}

// mergeItems replaces the managed items of a list in place, takes the absent ones
// away, and adds what is missing at the end. Items of others stay as written.
func mergeItems(
	items []listenerItem, d Desired, same func(a, b listenerItem) bool, wanted func(Endpoint) listenerItem,
) []listenerItem {
	out := slices.DeleteFunc(slices.Clone(items),
		func(i listenerItem) bool { return slices.Contains(d.Absent, i.name) })
	for _, e := range d.Endpoints {
		want := wanted(e)
		switch i := findItem(out, e.Name); {
		case i < 0:
			out = append(out, want)
		case !same(out[i], want):
			out[i] = want
		}
	}
	return out
}

// sameItems is true if two lists name the same listeners with the same addresses, in whatever order.
func sameItems(a, b []listenerItem, same func(a, b listenerItem) bool) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(i listenerItem) bool {
		j := findItem(b, i.name)
		return j < 0 || !same(i, b[j])
	})
}

// mergeProtocols is mergeItems for the protocol map, of which the last entry of a name counts.
func mergeProtocols(items []mapItem, d Desired) []mapItem {
	out := slices.DeleteFunc(slices.Clone(items), func(m mapItem) bool { return slices.Contains(d.Absent, m.name) })
	for _, e := range d.Endpoints {
		if p, ok := lookupProtocol(out, e.Name); ok && p == e.SecurityProtocol {
			continue
		}
		want := mapItem{name: e.Name, protocol: e.SecurityProtocol, text: e.Name + ":" + e.SecurityProtocol}
		i := slices.IndexFunc(out, func(m mapItem) bool { return m.name == e.Name })
		if i < 0 {
			out = append(out, want)
			continue
		}
		out[i] = want
		rest := slices.DeleteFunc(out[i+1:], func(m mapItem) bool { return m.name == e.Name })
		out = out[:i+1+len(rest)]
	}
	return out
}

// sameProtocols is true if map b does for every name of map a what a does. An
// explicit map must also have no more names than a.
func sameProtocols(a, b []mapItem, explicit bool) bool {
	covers := func(x, y []mapItem) bool {
		return !slices.ContainsFunc(x, func(m mapItem) bool {
			p, ok := lookupProtocol(x, m.name)
			q, found := lookupProtocol(y, m.name)
			return ok && (!found || p != q)
		})
	}
	return covers(a, b) && (!explicit || covers(b, a))
}

// planScoped works out the changes of listener.name.NAME.*: a managed listener
// has the properties the manifest names and no others, an absent one has none.
func (c *brokerConfig) planScoped(d Desired) []propEdit {
	want := map[string]string{}
	for _, e := range d.Endpoints {
		for key, value := range e.Properties {
			want[listenerPrefix(e.Name)+key] = value
		}
	}
	var edits []propEdit
	for key := range c.last {
		if _, ok := want[key]; !ok && d.scopedKey(key) {
			edits = append(edits, propEdit{key: key, remove: true})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !c.has(key) || c.text(key) != trimJava(want[key]) {
			edits = append(edits, propEdit{key: key, value: want[key]})
		}
	}
	return edits
}

// scopedKey is true for a property of a managed or absent listener.
func (d Desired) scopedKey(key string) bool {
	return slices.ContainsFunc(d.names(),
		func(name string) bool { return strings.HasPrefix(key, listenerPrefix(name)) })
}

// verify refuses an edit that did anything else than it was meant to: a
// net under the rules above, not a rule of its own.
func (c *brokerConfig) verify(result *brokerConfig, d Desired) error {
	others := func(p *propFile) (out []string) {
		for i, e := range p.entries {
			_, own := p.markStart(i)
			list := e.key == keyListeners || e.key == keyAdvertised || e.key == keyProtocolMap
			if !own && !list && !d.scopedKey(e.key) {
				out = append(out, string(p.data[e.start:e.end]))
			}
		}
		return out
	}
	// A line end that was missing at the end of the file is the one thing that may come.
	same := slices.EqualFunc(others(c.propFile), others(result.propFile), func(a, b string) bool {
		return a == b || strings.HasPrefix(b, a) && strings.Trim(b[len(a):], "\r\n") == ""
	})
	if !same || len(result.plan(d)) > 0 {
		return &Refusal{
			Rule: "EDIT", Path: c.path, Text: "the file cannot be edited safely",
			Next: "simplify the lines of its listeners, and report this as a defect of kpls-agent",
		}
	}
	return nil
}

// hiddenChanges is true if a value of a managed listener differs that the broker does not show, or if a line of the
// agent's for a property of the broker is gone: what the process should have then is nobody's wish.
func hiddenChanges(old, result *brokerConfig, d Desired) bool {
	for _, p := range brokerProperties {
		if old.hasOwn(p.name) && !result.hasOwn(p.name) {
			return true
		}
	}
	for _, e := range d.Endpoints {
		prefix := listenerPrefix(e.Name)
		for _, keys := range []map[string]int{old.last, result.last} {
			for key := range keys {
				name, ok := strings.CutPrefix(key, prefix)
				if ok && !shownByBroker(name) &&
					(old.has(key) != result.has(key) || old.text(key) != result.text(key)) {
					return true
				}
			}
		}
	}
	return false
}
