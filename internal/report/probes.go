package report

import (
	"fmt"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/restart"
)

// Probe is the probe port of one listener of a broker, as its agent reported last.
type Probe struct {
	Listener string `json:"listener"`
	Open     bool   `json:"open"`
	// Why says why it is closed, or why it is open although the broker does not serve; else it is empty.
	Why string `json:"why,omitempty"`
}

// probes says of every listener of every broker whether its probe is open.
func (r *Report) probes(m *Manifest) {
	names := slices.Clone(r.Active)
	if m != nil {
		names = append(names, m.Listeners...)
	}
	for _, b := range r.Brokers {
		names = append(append(names, b.Serving...), b.Open...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for i := range r.Brokers {
		b := &r.Brokers[i]
		for _, name := range names {
			p := Probe{Listener: name, Open: slices.Contains(b.Open, name)}
			p.Why = r.whyProbe(*b, name, p.Open)
			if !p.Open && m != nil && b.Manifest == m.Hash && slices.Contains(m.Absent, name) {
				p.Why = "it is being removed"
			}
			b.Probes = append(b.Probes, p)
		}
	}
}

func (r *Report) whyProbe(b Broker, name string, open bool) string {
	serves := slices.Contains(b.Serving, name)
	switch active := slices.Contains(r.Active, name); {
	case open && !serves:
		return "held for the restart"
	case open:
		return ""
	case !serves && b.Phase == restart.PhaseUnmanaged:
		return "no manifest"
	case !serves:
		return "not served"
	case !active:
		n := 0
		for _, o := range r.Brokers {
			if slices.Contains(o.Serving, name) {
				n++
			}
		}
		if all := len(r.Brokers) + len(r.Unheard); n < all {
			return fmt.Sprintf("%d of %d serve it", n, all)
		}
		return "opens when all are done"
	case b.busy():
		return "for the restart"
	default:
		return "about to open"
	}
}

// probesText says the same for people; listeners of which the same is to be said stand together.
func (b Broker) probesText() string {
	var texts []string
	listeners := map[string][]string{}
	for _, p := range b.Probes {
		text := "closed"
		if p.Open {
			text = "open"
		}
		if b.State != Runs {
			text = "was " + text
		} else if p.Why != "" {
			text += ", " + p.Why
		}
		if listeners[text] == nil {
			texts = append(texts, text)
		}
		listeners[text] = append(listeners[text], p.Listener)
	}
	for i, text := range texts {
		texts[i] = strings.Join(listeners[text], ", ") + ": " + text
	}
	return strings.Join(texts, "; ")
}
