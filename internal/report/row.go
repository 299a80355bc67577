package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// row is one line of the table, of a broker with an agent or without.
type row struct {
	cells   [columns]string
	urgency Urgency
	rest    bool   // there is nothing to say of it
	under   string // a cell that goes below the row where the terminal is too narrow for it
	code    restart.Code
}

// The columns of the table.
const (
	colBroker = iota
	colZone
	colUp
	colAgent
	colPhase
	colFor
	colManifest
	colProbes
	colWhy
	columns
)

func titles() [columns]string {
	return [columns]string{"BROKER", "ZONE", "UP", "AGENT", "PHASE", "FOR", "MANIFEST", "PROBES", "WHY"}
}

// rows are the rows of all brokers, by their ids.
func (r *Report) rows() []row {
	var out []row
	next := 0
	for _, u := range r.Unheard {
		for next < len(r.Brokers) && r.Brokers[next].Broker < u.Broker {
			out = append(out, r.Brokers[next].row(r))
			next++
		}
		out = append(out, u.row(r))
	}
	for ; next < len(r.Brokers); next++ {
		out = append(out, r.Brokers[next].row(r))
	}
	return out
}

func (u Unheard) row(r *Report) row {
	why := "no agent has reported; install and start kpls-agent there"
	switch {
	case r.noTopic:
		why = "no agent has reported: the coordination topic is not there yet; an agent makes it once it has a manifest"
	case u.NotInManifest:
		why = "no agent has reported, and the manifest does not have this broker"
	}
	return row{
		cells: [columns]string{
			colBroker: strconv.Itoa(int(u.Broker)), colZone: u.Zone, colUp: up(u.Registered), colAgent: "none",
			colWhy: why,
		},
		urgency: Act, code: restart.CodeAgentMissing,
	}
}

func (b Broker) row(r *Report) row {
	why, code := b.why(r)
	phase := string(b.Phase)
	if b.State != Runs {
		phase = "(" + phase + ")"
	}
	return row{
		cells: [columns]string{
			colBroker: strconv.Itoa(int(b.Broker)), colZone: b.Zone, colUp: up(b.Registered), colAgent: b.agent(r.At),
			colPhase: phase, colFor: Elapsed(r.At.Sub(b.Since)), colManifest: restart.Short(b.Manifest),
			colProbes: b.probesText(), colWhy: why,
		},
		urgency: b.urgency(r), code: code,
		rest: b.Phase == restart.PhaseIdle && !b.Drift && b.State == Runs && b.ManifestFault == "" && !b.down(),
	}
}

func up(registered *bool) string {
	switch {
	case registered == nil:
		return ""
	case *registered:
		return "yes"
	default:
		return "NO"
	}
}

// agent says whether the agent itself is there.
func (b Broker) agent(at time.Time) string {
	if b.State == Runs {
		return string(Runs)
	}
	return string(b.State) + " " + Elapsed(at.Sub(b.Seen))
}

// alone is a reason without what the row of the broker that it is about says anyway.
func (r *Report) alone(reason restart.Reason) string {
	text := reason.Text()
	for _, b := range r.Brokers {
		if reason.Broker == nil || *reason.Broker != b.Broker {
			continue
		}
		if its := b.Reason.Text(); its != "" {
			text = strings.Replace(text, ": "+its, "", 1)
		}
		if b.ManifestFault != "" {
			text = strings.Replace(text, " ("+b.ManifestFault+")", "", 1)
		}
	}
	return text
}

// why is the one reason of a broker, and its code. What stands above the table is not repeated, and what an agent said
// that is gone is marked as old.
func (b Broker) why(r *Report) (string, restart.Code) {
	text, code := r.alone(b.Reason), b.Reason.Code
	switch {
	case code == restart.CodePaused && r.Pause != nil:
		text = "paused, see above"
	case code == restart.CodeHalted && len(r.Halts) > 0:
		text = "halted, see above"
	case code == restart.CodeInSync && b.ManifestFault != "":
		text, code = "the manifest file is not in force: "+b.ManifestFault, restart.CodeRefused
	case code == restart.CodeInSync && b.down():
		text, code = "the other brokers do not see this broker; see its log", restart.CodeGateBrokers
	}
	if left := b.Reason.Until.Sub(r.At); b.State == Runs && left > 0 {
		text += fmt.Sprintf(" (%s left)", Elapsed(left))
	}
	age := Elapsed(r.At.Sub(b.Seen))
	switch {
	case b.State == Silent:
		return fmt.Sprintf("nothing heard of its agent for %s; before that: %s", age, text), restart.CodeAgentSilent
	case b.State == Stopped && b.gone(r.At):
		return fmt.Sprintf("its agent was stopped %s ago; before that: %s", age, text), restart.CodeAgentSilent
	case b.State == Stopped:
		return fmt.Sprintf("its agent was stopped %s ago, as an upgrade does; before that: %s", age, text), code
	}
	return text, code
}

// faults are the manifests that are not taken over and that no row tells of.
func (r *Report) faults() []string {
	var out []string
	for _, b := range r.Brokers {
		if text, _ := b.why(r); b.ManifestFault != "" && !strings.Contains(text, b.ManifestFault) {
			out = append(out, fmt.Sprintf("the manifest file of broker %d is not in force: %s", b.Broker,
				b.ManifestFault))
		}
	}
	return out
}
