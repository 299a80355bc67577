package unit

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// roles says what another Kafka process is; known is false where its file cannot be read.
func (b Broker) roles(p Process) (roles string, isBroker, known bool) {
	file, seen := p.properties()
	if !seen || b.Roles == nil {
		return "", false, false
	}
	roles, err := b.Roles(file)
	if err != nil {
		return "", false, false
	}
	isBroker = roles == "" ||
		slices.ContainsFunc(strings.Split(roles, ","), func(r string) bool { return strings.TrimSpace(r) == "broker" })
	return roles, isBroker, true
}

// judgeOthers asks what Kafka there is on this machine in addition to the unit's.
func (p Picture) judgeOthers(b Broker) []Verdict {
	if p.Blind != nil {
		return []Verdict{
			{
				Level: Warning,
				Text: fmt.Sprintf("cannot be seen (%v); see `ps ax | grep 'kafka[.]Kafka'`: one VM has one broker",
					p.Blind),
			},
		}
	}
	if o, found := p.outside(b); found {
		return []Verdict{{Level: Fault, Text: p.startedOutside(o)}}
	}
	var out []Verdict
	for _, o := range p.others(b) {
		roles, isBroker, known := b.roles(o)
		switch {
		case !known:
			out = append(
				out,
				Verdict{
					Level: Warning,
					Text: fmt.Sprintf(
						"%s runs on this machine; whether it is a broker cannot be seen. One VM has one broker: move a second one to a VM of its own",
						o),
				},
			)
		case isBroker:
			out = append(
				out,
				Verdict{
					Level: Fault,
					Text: fmt.Sprintf(
						"%s is another broker on this machine, which is not supported: one VM is one broker; move it to a VM of its own",
						o),
				},
			)
		default:
			out = append(out, Verdict{Level: OK, Text: fmt.Sprintf("%s (%s)", o, roles)})
		}
	}
	return out
}

func (p Picture) startedOutside(o Process) string {
	if id := o.userManager(); id != "" {
		return fmt.Sprintf(
			"%s runs under the service manager of user %s (`systemctl --user`), which the agent cannot reach, and %s is %s; make it a unit of the system, or use `commands` in the settings",
			o, id, p.ID, p.State)
	}
	if u := o.unit(); strings.HasSuffix(u, ".service") {
		return fmt.Sprintf(
			"%s runs and %s is %s; if %s is the broker's unit, name it as `unit` in the settings; else stop the process there, wait until it has ended, then `systemctl start %s`",
			o, p.ID, p.State, u, p.ID)
	}
	return fmt.Sprintf(
		"%s runs and %s is %s: it was started outside of the unit; stop it (`kill %d`), wait until it has ended, then `systemctl start %s`",
		o, p.ID, p.State, o.PID, p.ID)
}

// judgeReach asks what a stop or a start of the unit does to other processes.
func (p Picture) judgeReach(b Broker) []Verdict {
	var out []Verdict
	others := p.others(b)
	for _, c := range p.run {
		if c.setting == "ExecReload=" {
			if c.hangsUp() {
				out = append(
					out,
					Verdict{
						Level: Warning,
						Text: fmt.Sprintf(
							"%s: Kafka ends at SIGHUP, so `systemctl reload %s` takes the broker down; remove ExecReload= (%s)",
							c, p.ID, p.edit()),
					},
				)
			}
			continue
		}
		if v, ok := p.judgeEnds(c, others, b); ok {
			out = append(out, v)
		}
	}
	for _, d := range p.Dependents {
		i := slices.IndexFunc(others, func(o Process) bool { return o.unit() == d })
		if i < 0 {
			out = append(
				out,
				Verdict{
					Level: Warning,
					Text: fmt.Sprintf(
						"systemd stops and restarts %s with every restart of this unit (its Requires=, BindsTo= or PartOf=); use Wants= and After= there if it can do without",
						d),
				},
			)
			continue
		}
		out = append(
			out,
			Verdict{
				Level: Hazard,
				Text: fmt.Sprintf(
					"a restart of %s takes %s with it, because of Requires=, BindsTo= or PartOf= in %s; remove it there (`systemctl edit --full %s`), then `systemctl daemon-reload`",
					p.ID, others[i], d, d),
			},
		)
	}
	return append(out, p.judgeSignals(b)...)
}

// enders are programs that judgeEnds looks at.
var enders = []string{"kafka-server-stop", "pkill", "killall", "kill", "systemctl", "service", "su", "runuser"}

// judgeEnds is about a command that ends processes.
func (p Picture) judgeEnds(c command, others []Process, b Broker) (Verdict, bool) {
	switch name := c.name(); {
	case (name == "su" || name == "runuser") && c.setting == "ExecStart=" && c.via == "":
		return Verdict{
			Level: Fault,
			Text: fmt.Sprintf("%s: at a stop %s sends SIGTERM and 2 s later SIGKILL, long before Kafka has shut down; "+
				"use User= in the unit (%s)", c, name, p.edit()),
		}, true
	case name == "kill" && c.kills() && c.stops():
		return Verdict{
			Level: Fault,
			Text: fmt.Sprintf("%s: at SIGKILL Kafka makes no controlled shutdown; remove %s (%s)", c, c.setting,
				p.edit()),
		}, true
	}
	hit, what, fix := p.ends(c, others, b)
	switch {
	case what == "":
		return Verdict{}, false
	case len(hit) > 0:
		return Verdict{
			Level: Hazard,
			Text: fmt.Sprintf("%s %s, %s too; %s (%s), or move that to another VM",
				c, what, names(hit), fix, p.edit()),
		}, true
	case p.Blind != nil:
		return Verdict{
			Level: Warning,
			Text:  fmt.Sprintf("%s %s, and which there are cannot be seen; %s (%s)", c, what, fix, p.edit()),
		}, true
	}
	return Verdict{Level: Warning, Text: fmt.Sprintf("%s %s; %s (%s)", c, what, fix, p.edit())}, true
}

// stops is true for a command of the unit's stop.
func (c command) stops() bool { return c.setting == "ExecStop=" || c.setting == "ExecStopPost=" }

// ends says what a command ends, which of the other processes it hits, and
// what to do; what is empty for one that ends none.
func (p Picture) ends(c command, others []Process, b Broker) (hit []Process, what, fix string) {
	switch name := strings.TrimSuffix(c.name(), ".sh"); name {
	case "kafka-server-stop":
		var told bool
		if hit, told = c.stopScript(others, b); told && len(hit) == 0 {
			return nil, "", ""
		}
		what, fix = "ends every Kafka process of this machine", "remove "+c.setting+" (SIGTERM is all that Kafka needs)"
		if told {
			what = "ends Kafka processes with that role"
		}
	case "pkill", "killall":
		var told bool
		if hit, told = c.byName(others); told && len(hit) == 0 {
			return nil, "", ""
		}
		what, fix = "ends processes by their name", "remove "+c.setting
	case "su", "runuser":
	case "kill":
		if !c.byNumber() {
			what = "ends processes that cannot be seen here"
			fix = "remove " + c.setting + " (SIGTERM is all that Kafka needs)"
		}
	case "systemctl", "service":
		if c.otherUnits(p.Names) {
			what, fix = "stops or restarts other units", "remove it"
		}
	default:
		if c.stops() && c.unseen != "" {
			what, fix = "does what cannot be seen ("+c.unseen+")", "make sure that it ends no other process and removes nothing; SIGTERM is all that Kafka needs"
		}
	}
	return hit, what, fix
}

func names(list []Process) string {
	texts := make([]string, 0, len(list))
	for _, o := range list {
		texts = append(texts, o.String())
	}
	return strings.Join(texts, " and ")
}

// byName are those of other processes that a pkill or killall matches; told is false where that
// cannot be seen: then it is all.
func (c command) byName(others []Process) (hit []Process, told bool) {
	pattern, full := "", false
	for i, w := range c.words[1:] {
		switch {
		case w.text == "-P" || w.text == "--parent": // children of one process
			return nil, true
		case !w.known:
			return others, false
		case strings.HasPrefix(w.text, "-"):
			full = full || !strings.HasPrefix(w.text, "--") && strings.Contains(w.text, "f") || w.text == "--full"
		case slices.Contains([]string{"-s", "--signal", "-u", "-g", "-t"}, c.words[i].text): // its value
		default:
			pattern = w.text
		}
	}
	re, err := regexp.Compile(pattern)
	if err != nil || pattern == "" {
		return others, false
	}
	for _, o := range others {
		name := path.Base(o.Argv[0])
		if full {
			name = strings.Join(o.Argv, " ")
		}
		if re.MatchString(name) {
			hit = append(hit, o)
		}
	}
	// One that would match a Kafka process if there were one is reported, too.
	jvm := "java"
	if full {
		jvm = "java kafka.Kafka server.properties"
	}
	return hit, !re.MatchString(jvm)
}

// stopScript is what kafka-server-stop.sh ends in addition to the broker. With --node-id= or
// --process-role= it ends those alone whose file says so, since 3.7 (KIP-979); one before that does
// not know the options and ends all.
func (c command) stopScript(others []Process, b Broker) (hit []Process, told bool) {
	role, id := "", false
	for _, w := range c.words[1:] {
		if r, ok := strings.CutPrefix(w.text, "--process-role="); ok {
			role, told = r, true
		}
		id = id || strings.HasPrefix(w.text, "--node-id=")
	}
	if file, ok := c.path(c.words[0]); ok && (told || id) {
		if text, err := os.ReadFile(file); err == nil && !strings.Contains(string(text), "--node-id") {
			return others, false
		}
	}
	switch {
	case id:
		return nil, true
	case !told:
		return others, false
	}
	for _, o := range others {
		if roles, _, known := b.roles(o); !known || roles == role {
			hit = append(hit, o)
		}
	}
	return hit, true
}

// byNumber is true for a kill of the unit's own main process.
func (c command) byNumber() bool {
	return !slices.ContainsFunc(c.words[1:], func(w word) bool {
		return !w.known && !strings.Contains(w.text, "MAINPID")
	})
}

func (c command) kills() bool {
	return slices.ContainsFunc(c.words[1:], func(w word) bool {
		return slices.Contains([]string{"-9", "-KILL", "-SIGKILL", "KILL", "SIGKILL", "9"}, w.text)
	})
}

func (c command) hangsUp() bool {
	if !slices.Contains([]string{"kill", "pkill", "killall"}, c.name()) {
		return false
	}
	return hupWord(c.words[1:])
}

// hupWord is true if one of the words is SIGHUP, as kill and its kin take it.
func hupWord(words []word) bool {
	hup := []string{"-HUP", "-SIGHUP", "-1", "HUP", "SIGHUP", "-sHUP", "--signal=HUP", "--signal=SIGHUP"}
	return slices.ContainsFunc(words, func(w word) bool { return slices.Contains(hup, w.text) })
}

// otherUnits is true for a systemctl that stops or restarts what is not this unit.
func (c command) otherUnits(own []string) bool {
	verb := slices.ContainsFunc(c.words, func(w word) bool {
		return slices.Contains([]string{"stop", "restart", "kill", "isolate", "reboot", "poweroff", "try-restart"},
			w.text)
	})
	return verb && !slices.ContainsFunc(c.words, func(w word) bool {
		return slices.Contains(own, w.text) || slices.Contains(own, w.text+".service")
	})
}

// judgeSignals asks whether a stop reaches the broker as SIGTERM and nothing more.
func (p Picture) judgeSignals(b Broker) []Verdict {
	var out []Verdict
	for _, process := range p.Processes {
		if !p.own(process, b) || p.MainPID == 0 || process.PID == p.MainPID {
			continue
		}
		switch p.KillMode {
		case "process":
			out = append(
				out,
				Verdict{
					Level: Fault,
					Text: fmt.Sprintf(
						"with KillMode=process a stop ends the shell and leaves the broker (process %d), whose ports and files the next one needs; put `exec` before the command in ExecStart=, or remove KillMode= (%s)",
						process.PID, p.edit()),
				},
			)
		case "mixed":
			out = append(
				out,
				Verdict{
					Level: Fault,
					Text: fmt.Sprintf(
						"with KillMode=mixed SIGTERM goes to the shell alone, and the broker (process %d) is killed as soon as the shell has ended; put `exec` before the command in ExecStart=, or remove KillMode= (%s)",
						process.PID, p.edit()),
				},
			)
		}
	}
	const bySIGTERM = 143 // exit status of a JVM
	harmless := func(action string) bool { return action == "" || action == "none" }
	clean := slices.Contains(p.SuccessExitStatus, bySIGTERM)
	if !harmless(p.FailureAction) && !clean {
		out = append(
			out,
			Verdict{
				Level: Hazard,
				Text: fmt.Sprintf(
					"a broker that was stopped exits with 143, which systemd takes for a failure, and FailureAction=%s follows each restart; set SuccessExitStatus=143 (`systemctl edit %s`), or remove FailureAction=",
					p.FailureAction, p.ID),
			},
		)
	}
	if !harmless(p.SuccessAction) && clean {
		out = append(
			out,
			Verdict{
				Level: Hazard,
				Text: fmt.Sprintf("SuccessAction=%s follows each stop of the broker, a restart too; remove it (%s)",
					p.SuccessAction, p.edit()),
			},
		)
	}
	return out
}
