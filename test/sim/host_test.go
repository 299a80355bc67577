package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// host is a broker's VM: what outlives the agent on its disk, its clock, and
// its service manager.
type host struct {
	id       int32
	journal  restart.Journal
	file     string // the manifest that server.properties was written for
	lastGood string
	begun    time.Time // when the journal came to the first stage of a restart
	unproven bool      // the mark that server.properties is new
	manifest string
	full     bool      // no byte can be written
	fullEnd  time.Time // when that last ended
	dbus     bool      // the service manager does not say how the unit is
	seesAt   time.Time // when it last began to say so again
	nojob    bool      // and takes no orders
	denied   bool      // it refuses a restart, and says so when it is asked
	harm     harm      // what a restart would do beyond itself
	harmAt   time.Time // since when
	failOnce bool      // the next start fails before the broker's own process runs
	withheld bool      // newer manifests do not get there
	skew     time.Duration
}

// harm is why a broker must not be restarted just now; "" is nothing.
type harm string

// The harms. A restart with drops makes Kafka drop its dynamic settings.
const (
	hazard  harm = "hazard"
	drops   harm = "drops"
	edit    harm = "edit"
	storage harm = "storage"
)

var (
	errDenied  = errors.New("not permitted")
	errNoSpace = errors.New("no space left on device")
)

// saveJournal is what cmd does with a journal.
func (h *host) saveJournal(j restart.Journal, now time.Time) error {
	if h.full {
		return errNoSpace
	}
	if !j.Unproven {
		h.unproven = false
	}
	if h.journal.Stage == restart.StageNone && j.Stage == restart.StageApply {
		h.begun = now
	}
	j.Listeners, j.Before, j.Absent = maps.Clone(j.Listeners), maps.Clone(j.Before), slices.Clone(j.Absent)
	h.journal = j
	h.journal.Started = h.journal.Started.Add(h.skew) // files have the time of the clock on the wall
	return nil
}

// loadJournal is what a new agent process finds.
func (h *host) loadJournal() restart.Journal {
	j := h.journal
	if !j.Started.IsZero() {
		j.Started = j.Started.Add(-h.skew)
	}
	return j
}

// apply is what cmd does to write the manifest into server.properties: a file
// that no process has proved never becomes the last good one.
func (r *run) apply(h *host, manifest string) error {
	if h.manifest != manifest {
		return errors.New("the manifest has just changed")
	}
	if h.full {
		return errNoSpace
	}
	if !h.unproven {
		h.lastGood = h.file
	}
	if r.versions[h.file].wants.equal(r.versions[h.manifest].wants) {
		return nil
	}
	h.unproven, h.file = true, h.manifest
	return nil
}

func (r *run) restore(h *host) error {
	switch {
	case h.full:
		return errNoSpace
	case h.lastGood == "":
		return errors.New("there is no last good server.properties")
	}
	h.file = h.lastGood
	return nil
}

// unit is the service manager's answer.
func (r *run) unit(h *host) restart.UnitFacts {
	b := r.broker(h.id)
	if h.dbus {
		return restart.UnitFacts{At: r.now, State: restart.UnitUnknown, Detail: "no answer on the bus"}
	}
	f := restart.UnitFacts{At: r.now, State: restart.UnitRunning, Invocation: b.invocation(), Restarts: b.restarts, StartFailures: b.startFailures}
	if h.harm == hazard {
		f.Hazard = "its ExecStop= ends every Kafka process"
	}
	switch {
	case b.waits:
		f.State = restart.UnitStarting
	case b.failed:
		f.State = restart.UnitFailed
	case b.stopped:
		f.State = restart.UnitStopped
	case !b.running || b.stopping:
		f.State = restart.UnitStopping
	}
	return f
}

// yetToCome is the id of an optional broker that never comes.
const yetToCome = 900

// manifestFacts is what cmd makes of the manifest and server.properties.
func (r *run) manifestFacts(h *host) restart.ManifestFacts {
	if h.manifest == "" {
		return restart.ManifestFacts{}
	}
	v, on := r.versions[h.manifest], r.versions[h.file]
	f := restart.ManifestFacts{
		Hash: h.manifest, Cluster: "c", Listeners: v.wants.listeners, Absent: v.absent,
		FileChanges: !on.wants.equal(v.wants), HiddenChanges: on.wants.hidden != v.wants.hidden,
		Zones: r.zones, Table: true, MaxUnavailable: v.maxUnavailable, Soak: v.soak, HealthyThreshold: 2,
		Close: v.closes, Drain: v.drain,
	}
	if r.awaits { // nobody may wait for it
		f.Zones, f.Optional = maps.Clone(f.Zones), []int32{yetToCome}
		f.Zones[yetToCome] = "z"
	}
	switch h.harm {
	case drops:
		f.Drops = []restart.DynamicDrop{{Name: "num.io.threads", Level: "default", Dynamic: "32", File: "8", Fix: "num.io.threads=16"}}
	case edit:
		f.Pending = []restart.PendingEdit{{Name: "num.io.threads", Running: "8", File: "8 # tuned", Invalid: "no number"}}
	case hazard, storage:
	}
	if v.refusedBy == h.id && !v.portTaken {
		f.Refusal = restart.NewReason(restart.CodeRefused, "another process holds port 39092")
	}
	return f
}

// restartUnit is the service manager's job: stop, wait, start.
func (r *run) restartUnit(h *host, done func(error)) {
	b := r.broker(h.id)
	if h.denied {
		r.after(r.between(1, 50), func() { done(errDenied) })
		return
	}
	if h.nojob {
		r.after(r.between(10, 2000), func() { done(errors.New("no answer on the bus")) })
		return
	}
	r.note("broker %d is stopped by its agent", b.id)
	was := b.running
	b.takenDown, b.failed, b.stopped, b.restarts, b.startFailures, b.waits = true, false, false, 0, 0, false
	b.ready, b.frozen, b.stopping = false, false, true
	b.epoch++
	epoch := b.epoch
	r.leave(b)
	r.onProcess(b)
	stop := r.between(500, 6000)
	if !was {
		stop = r.between(5, 50)
	}
	r.after(stop, func() {
		if b.epoch != epoch && b.running { // somebody was quicker
			done(nil)
			return
		}
		if b.running {
			r.exit(b, true)
		}
		if h.failOnce {
			h.failOnce, b.waits = false, true
			ended := b.epoch
			r.note("broker %d: its ExecStartPre= fails once", b.id)
			r.after(5*time.Second, func() {
				if b.epoch == ended && !b.running {
					b.restarts, b.startFailures, b.waits = 1, 1, false
					r.launch(b, "the service manager")
				}
			})
			r.after(10*time.Millisecond, func() { done(errors.New("the start job has failed")) })
			return
		}
		r.launch(b, "its agent")
		r.after(10*time.Millisecond, func() { done(nil) })
	})
}
