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

// forecast counts what is left of the brokers at work, and those that have not begun by the mean of the restarts that
// were measured. Brokers of a zone that may go together count together.
func (r *Report) forecast(f Facts) *Forecast {
	if r.Worst != Rolling {
		return nil
	}
	one, measured := r.measured()
	if !measured && f.Manifest != nil {
		one = f.Manifest.Soak
	}
	left, zones := time.Duration(0), map[string]int{}
	manifest := r.target(f.Manifest)
	for _, b := range r.Brokers {
		switch {
		case b.busy():
			left = max(left, b.left(r, one))
		case !b.done(manifest) || r.Request != nil && b.Target != manifest+"+"+r.Request.ID:
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
		left += time.Duration(n) * one
	}
	if left <= 0 {
		return nil
	}
	return &Forecast{left.Round(time.Second).Seconds(), measured}
}

// measured is the mean of the restarts that the agents have measured.
func (r *Report) measured() (mean time.Duration, ok bool) {
	sum, n := 0.0, 0
	for _, b := range r.Brokers {
		if b.Took > 0 {
			sum, n = sum+b.Took, n+1
		}
	}
	if n == 0 {
		return 0, false
	}
	return time.Duration(sum / float64(n) * float64(time.Second)), true
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
