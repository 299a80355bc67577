package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// foreign says what the edit removes, or corrects, that the manifest's author or
// another program that edits the file should know of.
func (c *brokerConfig) foreign(d Desired) []string {
	var out []string
	if r, ok := errors.AsType[*Refusal](c.validate()); ok {
		text := "Kafka would not start with " + r.Path
		if r.Line > 0 {
			text += fmt.Sprintf(":%d", r.Line)
		}
		text += " as it is: " + r.Text
		if len(d.Endpoints) > 0 {
			text += "; whoever writes it must write " + d.Items()
		}
		out = append(out, text)
	}
	for i, e := range c.entries {
		name, unwanted := d.unwanted(e.key)
		if unwanted && c.last[e.key] == i {
			out = append(out, fmt.Sprintf("%s:%d: %s is removed, since listener %s of the manifest does not have it; "+
				"add it to `properties` there to keep it",
				c.path, e.line, quoteKey(e.key), name))
		}
	}
	return out
}

// unwanted is true for a property of a managed listener that the manifest does
// not name. Those of a listener that goes away go with it, and are none.
func (d Desired) unwanted(key string) (listener string, ok bool) {
	for _, e := range d.Endpoints {
		if name, scoped := strings.CutPrefix(key, listenerPrefix(e.Name)); scoped {
			_, named := e.Properties[name]
			return e.Name, !named
		}
	}
	return "", false
}

// Items are the items of the managed listeners that the three lists of a
// server.properties must hold, as a person writes them.
func (d Desired) Items() string {
	var listeners, advertised, protocols []string
	for _, e := range d.Endpoints {
		listeners = append(listeners, newListenerItem(e.Name, e.BindHost, e.BindPort).text)
		advertised = append(advertised, newListenerItem(e.Name, e.AdvertisedHost, e.AdvertisedPort).text)
		protocols = append(protocols, e.Name+":"+e.SecurityProtocol)
	}
	list := func(key string, items []string) string { return strings.Join(items, ",") + " into " + key }
	return strings.Join([]string{
		list(keyListeners, listeners), list(keyAdvertised, advertised), list(keyProtocolMap, protocols),
	}, ", ")
}

// keysOf are the keys of changes, each once.
func keysOf(changes []propChange) []string {
	var keys []string
	for _, c := range changes {
		if !slices.Contains(keys, c.key) {
			keys = append(keys, c.key)
		}
	}
	return keys
}
