package unit

import (
	"context"
	"path/filepath"
	"strings"
	"time"
)

// Broker is what the settings and server.properties say of the broker, against which its unit is judged.
type Broker struct {
	Properties string   // path of server.properties
	ID         string   // of the broker, as the file has it; empty where that is not known
	LogDirs    []string // log directories, that of the metadata log among them
	// Managed is true for the properties that the agent writes.
	Managed func(key string) bool
	// Roles reads process.roles of another server.properties: empty in ZooKeeper mode. Nil is one
	// that never can.
	Roles func(path string) (string, error)
}

// Picture is the unit as systemd sees it, with the Kafka processes of the whole machine.
type Picture struct {
	Setup
	State     string // ActiveState
	Processes []Process
	// Blind is why the processes are not known.
	Blind error
	// Seen is what root has seen of the unit before; nil for nothing.
	Seen *Seen

	run []command // what the unit runs; set by Judge
}

// Level says how much a verdict matters.
type Level int

// The levels of a verdict.
const (
	OK      Level = iota
	Warning       // works, and costs something, or cannot be seen
	Fault         // does not work
	Hazard        // a restart would destroy data or take another process down: the agent refuses
)

// Verdict is what one line of `check` says of the unit.
type Verdict struct {
	What  string
	Level Level
	Text  string // what is wrong, where, and what to do; for OK what was found
}

// The lines of Judge.
const (
	WhatCommand = "command line of the broker"
	WhatOthers  = "other Kafka processes"
	WhatReach   = "reach of a stop"
	WhatData    = "data of the broker at a stop"
	WhatWriters = "writers of server.properties"
)

// Look asks systemd for the unit and for the processes.
func (s *Systemd) Look(ctx context.Context) (Picture, error) {
	props, err := s.properties(ctx)
	if err != nil {
		return Picture{}, err
	}
	return s.picture(ctx, props), nil
}

func (s *Systemd) picture(ctx context.Context, props map[string]any) Picture {
	p := Picture{Setup: setup(props), State: text(props["ActiveState"])}
	all, err := s.processes(ctx)
	p.Blind = err
	if s.o.Seen != nil {
		p.Seen = s.o.Seen()
	}
	for _, process := range all {
		if _, ok := process.kafka(); ok {
			p.Processes = append(p.Processes, process)
		}
	}
	return p
}

// Judge says what the unit does to the broker and to others, a line or more for each question, none left out.
func (p Picture) Judge(b Broker) []Verdict {
	p.run = p.seen()
	return p.judge(b)
}

func (p Picture) judge(b Broker) []Verdict {
	var out []Verdict
	for _, about := range []struct {
		what  string
		judge func(Broker) []Verdict
		well  string
	}{
		{WhatCommand, p.judgeCommand, "no --override of a listener"},
		{WhatOthers, p.judgeOthers, "none"},
		{WhatReach, p.judgeReach, "the unit's own processes"},
		{WhatData, p.judgeData, "stays"},
		{WhatWriters, p.judgeWriters, "none at a start of the unit"},
	} {
		found := about.judge(b)
		if len(found) == 0 {
			found = []Verdict{{Level: OK, Text: about.well}}
		}
		for _, v := range found {
			v.What = about.what
			out = append(out, v)
		}
	}
	return out
}

// own is true for the broker's process of the unit: one in its control group, or with its file while the
// unit is up. What su starts in a unit lies in a session's group (seen on systemd 252).
func (p Picture) own(process Process, b Broker) bool {
	if p.up() {
		path, seen := process.properties()
		if !seen && path != "" {
			path, seen = p.relative(path)
		}
		if seen && sameFile(path, b.Properties) && process.userManager() == "" {
			return true
		}
	}
	return process.PID == p.MainPID && p.MainPID > 0 ||
		p.Group != "" && (process.Group == p.Group || strings.HasPrefix(process.Group, p.Group+"/")) ||
		p.ID != "" && process.unit() == p.ID && process.userManager() == ""
}

func (p Picture) others(b Broker) []Process {
	var out []Process
	for _, process := range p.Processes {
		if !p.own(process, b) {
			out = append(out, process)
		}
	}
	return out
}

// up is true while the unit has, or may have, a process.
func (p Picture) up() bool { return p.State != "inactive" && p.State != "failed" }

// outside is the broker's process where it does not belong to the unit: somebody has started it by hand.
func (p Picture) outside(b Broker) (Process, bool) {
	if p.up() {
		return Process{}, false
	}
	for _, o := range p.others(b) {
		path, seen := o.properties()
		// One with a name of its own such as kafka-controller.service is not this broker, whatever its file.
		ofItsOwn := strings.HasSuffix(o.unit(), ".service") && strings.Contains(o.unit(), "kafka") &&
			o.userManager() == ""
		if seen && sameFile(path, b.Properties) || !seen && !ofItsOwn {
			return o, true
		}
	}
	return Process{}, false
}

// edit is the command that changes the unit.
func (p Picture) edit() string { return "`systemctl edit --full " + p.ID + "`" }

func sameFile(a, b string) bool {
	resolved := func(path string) string {
		if r, err := filepath.EvalSymlinks(path); err == nil {
			return r
		}
		return filepath.Clean(path)
	}
	return resolved(a) == resolved(b)
}

// How old a picture may be: processes come and go, and systemd goes through all of them for it.
const (
	pictureAge     = 30 * time.Second
	pictureAgeDown = 2 * time.Second // while the broker may be started by hand
)
