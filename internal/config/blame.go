package config

import (
	"errors"
	"slices"
)

// Origin is where a manifest has its listeners: a fault of the manifest is shown there, and not at a line of
// server.properties.
type Origin struct {
	File string
	// Lines are those of a listener (NAME), of its fields (NAME.bind, NAME.properties.KEY), of the names under
	// `absent`, of the rows of the table and their fields (brokers.1, brokers.1.zone, brokers.1.ports.NAME), and of the other
	// fields by their names (load_balancer, load_balancer.interval).
	Lines map[string]int
}

// originOf notes the lines of what has passed ParseManifest.
func originOf(file string, root *Value) Origin {
	s := Origin{File: file, Lines: map[string]int{}}
	for _, e := range root.Get("listeners").entries() {
		s.note(e.Key, e.Value)
	}
	for _, e := range root.Get("brokers").entries() {
		s.note("brokers."+e.Key, e.Value)
	}
	for name, field := range root.fields {
		if field.Given {
			s.note(name, field)
		}
	}
	for _, v := range root.Get("absent").items() {
		s.Lines[v.text()] = v.at.line
	}
	return s
}

// note notes the line of a place, of its fields and of what is in those.
func (s Origin) note(place string, v *Value) {
	s.Lines[place] = v.key.line
	for name, field := range v.fields {
		if field.Given {
			s.Lines[place+"."+name] = field.key.line
		}
		for _, one := range field.Entries {
			s.Lines[place+"."+name+"."+one.Key] = one.Value.key.line
		}
	}
}

// attribute gives a refusal that is the manifest's fault the manifest's file and line.
func (s Origin) attribute(err error) error {
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.listener == "" || s.File == "" {
		return err
	}
	line, ok := s.Lines[r.listener+"."+r.field]
	if !ok {
		line = s.Lines[r.listener]
	}
	r.Path, r.Line = s.File, line
	return err
}

// by says which listener of the manifest, and which of its fields, a refusal is about.
func (r *Refusal) by(listener, field string) *Refusal {
	r.listener, r.field = listener, field
	return r
}

// fields are the fields of a listener that make a property of server.properties.
var fields = map[string]string{
	keyListeners: "bind", keyAdvertised: "advertised", keyProtocolMap: "security_protocol",
}

// blame finds out whether the file broke the rule before the edit, and gives the refusal the line of the file as the
// user sees it; otherwise it finds the listener of the manifest that breaks it.
func blame(err error, old *brokerConfig, in RenderInput) error {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		return err
	}
	if before, ok := errors.AsType[*Refusal](old.validate()); ok && before.Rule == r.Rule && before.Text == r.Text {
		before.Already = true
		return before
	}
	if r.Line > old.lines() {
		r.Line = 0 // a line that is only in the new file
	}
	if len(in.Desired.Endpoints) > 0 {
		r.listener, r.field = old.culprit(r, in), fields[r.key]
		r.Text += ", once the manifest is applied to " + old.path
	}
	return r
}

// culprit is the listener without which the manifest would not break the rule; empty if it takes more than one.
func (c *brokerConfig) culprit(r *Refusal, in RenderInput) string {
	for i, e := range in.Desired.Endpoints {
		rest := in
		rest.Desired.Endpoints = slices.Delete(slices.Clone(in.Desired.Endpoints), i, i+1)
		var err error
		if rest.File, _, err = c.edit(c.plan(rest.Desired)); err != nil {
			continue
		}
		result, err := readBroker(rest)
		if err != nil {
			continue
		}
		again, refused := errors.AsType[*Refusal](result.validate())
		if !refused || again.Rule != r.Rule || again.Text != r.Text {
			return e.Name
		}
	}
	return ""
}
