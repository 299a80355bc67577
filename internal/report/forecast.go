package report

import (
	"math"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Forecast is how long a roll-out will take if nothing gets in its way.
type Forecast struct {
	Seconds float64 `json:"seconds"`
	// Measured is true where the agents have measured restarts of this cluster. Otherwise only the soak times are
	// counted, so it takes longer.
	Measured bool `json:"measured"`
}

// forecast counts what is left of the brokers at work, and those that have not begun by the restarts that were
// measured. Brokers of a zone that may go together count together.
func (r *Report) forecast(f Facts) *Forecast {
	if r.Worst != Rolling {
		return nil
	}
	manifest := r.target(f.Manifest)
	target := manifest
	if r.Request != nil {
		target += "+" + r.Request.ID
	}
	p := r.pace(target, f.Manifest)
	left, zones, before := time.Duration(0), map[string]int{}, p.passed
	for _, b := range r.Brokers {
		switch {
		case b.busy():
			left = max(left, b.left(r, p.one(p.passed)))
			before++
		case !b.done(manifest) || r.Request != nil && b.Target != target:
			zones[b.Zone]++
		}
	}
	together := 1
	if f.Manifest != nil {
		together = max(1, f.Manifest.MaxUnavailable)
	}
	for zone, n := range zones {
		if zone != "" {
			n = int(math.Ceil(float64(n) / float64(together)))
		}
		for range n {
			left += p.one(before)
			before++
		}
	}
	if left <= 0 {
		return nil
	}
	return &Forecast{left.Round(time.Second).Seconds(), p.measured}
}

// pace is how long one broker takes: its own work, and its soak.
type pace struct {
	work, soak time.Duration
	passed     int // brokers that have passed already
	measured   bool
}

// one is what a broker takes after so many have passed: the soak gets shorter after two.
func (p pace) one(passed int) time.Duration {
	if passed >= 2 {
		return p.work + p.soak/4
	}
	return p.work + p.soak
}

// pace goes by the restarts of this roll-out that the agents have measured. While there are none, by those before,
// which had the soak of their time in them.
func (r *Report) pace(target string, m *Manifest) pace {
	var p pace
	var all, now, soaks time.Duration
	n, done := 0, 0
	if m != nil {
		p.soak = m.Soak
	}
	for _, b := range r.Brokers {
		if b.Passed == target {
			p.passed++
		}
		took := time.Duration(b.Took * float64(time.Second))
		switch {
		case took <= 0:
		case b.Passed == target:
			now, soaks, done = now+took, soaks+pace{soak: p.soak}.one(done), done+1
		default:
			all, n = all+took, n+1
		}
	}
	switch {
	case done > 0:
		p.work, p.measured = max(0, now-soaks)/time.Duration(done), true
	case n > 0:
		p.work, p.soak, p.measured = all/time.Duration(n), 0, true
	}
	return p
}

// left is what is left for a broker at work: its soak, or what a restart usually takes from its claim on.
func (b Broker) left(r *Report, one time.Duration) time.Duration {
	if b.Phase == restart.PhaseSoaking && !b.Reason.Until.IsZero() {
		return max(0, b.Reason.Until.Sub(r.At))
	}
	begun := b.Since
	for _, c := range r.Claims {
		if c.Broker == b.Broker {
			begun = c.At
		}
	}
	return max(0, one-r.At.Sub(begun))
}
