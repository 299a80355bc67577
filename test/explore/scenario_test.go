package explore

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write what the agents decide into testdata/*.txt")

// TestScenarios plays the scenarios of testdata. Each is commands, one a line, and below `----` what
// happens then, up to an empty line. `go test -run Scenarios -update ./test/explore` writes what happens.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := tables.HoldFile(path, play(t, string(text)), *update); err != nil {
				t.Error(err)
			}
		})
	}
}

// scenario is one scenario as it is played.
type scenario struct {
	t   *testing.T
	x   *explorer
	w   world
	out strings.Builder
	// said is what each agent said last, so only news is written.
	said [maxBrokers]string
	next int // the broker whose turn it is
}

// play plays a scenario and returns it with what happened.
func play(t *testing.T, text string) string {
	t.Helper()
	s := &scenario{t: t}
	var out strings.Builder
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for k, p := range paragraphs {
		commands, _, played := strings.Cut(p, "\n----")
		out.WriteString(commands)
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				s.command(line, text)
				played = true
			}
		}
		if played {
			out.WriteString("\n----\n" + s.out.String())
			s.out.Reset()
		} else {
			out.WriteString("\n")
		}
		if k+1 < len(paragraphs) {
			out.WriteString("\n")
		}
	}
	return out.String()
}

// command carries out one line: `cluster ...`, `run [until ...]`, `status`, `manifest`, `resume`, a fault
// and its broker, or `end`, a fault and its broker.
func (s *scenario) command(line, text string) {
	s.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "cluster":
		s.cluster(rest, text)
	case "run":
		s.run(strings.TrimPrefix(rest, "until "))
	case "status":
		s.status()
	case "manifest":
		s.do(event{handsOut, 0}, line)
	case "resume":
		s.do(event{resumes, 0}, line)
	case "end":
		s.fault(corrected, rest)
	default:
		s.fault(goesWrong, line)
	}
}

// cluster makes the world: brokers=3 zones=aab max_unavailable=2 min_isr=1 manifests=first,bad:exits,third slow.
func (s *scenario) cluster(rest, text string) {
	s.t.Helper()
	o := config{before: nothing}
	manifests := map[string]version{"first": first, "second": second, "third": third, "two": two, "removal": removal, "nothing": nothing}
	number := func(v string) int {
		n, err := strconv.Atoi(v)
		if err != nil {
			s.t.Fatalf("%q: %v", rest, err)
		}
		return n
	}
	for word := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "brokers":
			o.n = number(value)
		case "zones":
			o.zones = value
		case "max_unavailable":
			o.most = number(value)
		case "min_isr":
			o.need = number(value)
		case "before":
			o.before = manifests[value]
		case "slow":
			o.slow = true
		case "manifests":
			for name := range strings.SplitSeq(value, ",") {
				name, bad, _ := strings.Cut(name, ":")
				o.versions = append(o.versions, manifests[name].which(bad))
			}
		default:
			s.t.Fatalf("unknown word %q", word)
		}
	}
	for _, f := range faults {
		if f.begin != nil && strings.Contains(text, "\n"+f.name) {
			o.budgets = append(o.budgets, budget{f.name, 9})
		}
	}
	s.x = newExplorer(o.complete())
	s.w = s.x.begin()
}

// fault begins or ends a fault: its name, and its broker.
func (s *scenario) fault(kind eventKind, line string) {
	s.t.Helper()
	at := strings.LastIndex(line, " ")
	i, err := strconv.Atoi(line[at+1:])
	if err != nil {
		s.t.Fatalf("%q names no broker", line)
	}
	for k, b := range s.x.o.budgets {
		if b.fault == line[:at] {
			s.do(event{kind, uint8(4*k + i - 1)}, line)
			return
		}
	}
	s.t.Fatalf("no fault is named %q", line[:at])
}

// do lets an event happen.
func (s *scenario) do(e event, line string) {
	s.t.Helper()
	if !s.pick(func(f event, _ bool) bool { return f == e }) {
		s.t.Fatalf("%q cannot happen here:\n%s%s", line, s.out.String(), s.x.describe(&s.w))
	}
}

// pick lets the first event happen that is wanted, and writes what is news.
func (s *scenario) pick(want func(e event, urgent bool) bool) bool {
	s.t.Helper()
	found := false
	var before, after world
	var chosen event
	s.x.next(&s.w, func(e event, urgent bool, next *world, broken string) {
		if found || !want(e, urgent) {
			return
		}
		if broken != "" {
			s.t.Errorf("%s\n%s", broken, s.out.String())
		}
		found, chosen, before, after = true, e, s.w, *next
	})
	if found {
		s.w = after
		s.write(chosen, &before)
	}
	return found
}

// write writes one event as an operator reads it: what an agent says when it is something else than
// before, what it does to its broker, its files and the log, and what becomes of the brokers.
func (s *scenario) write(e event, before *world) {
	switch e.kind {
	case decides, decidesOnOld:
		v := s.x.vms[s.w.vm[e.arg]]
		st := v.a.Status()
		says := fmt.Sprintf("agent %d: %s (%s) %s", e.arg+1, st.Phase, st.Reason.Code, st.Reason.Text())
		if says != s.said[e.arg] {
			s.said[e.arg] = says
			fmt.Fprintln(&s.out, says)
		}
		switch v.do.Kind {
		case restart.ActNone, restart.ActObserve, restart.ActRunning, restart.ActSave:
		case restart.ActAppend:
			for _, r := range v.do.Records {
				how := "writes"
				if r.Value == nil {
					how = "deletes"
				}
				fmt.Fprintf(&s.out, "agent %d %s %s\n", e.arg+1, how, r.Key)
			}
		default:
			fmt.Fprintf(&s.out, "agent %d: %s\n", e.arg+1, map[restart.ActionKind]string{
				restart.ActApply: "writes server.properties", restart.ActRestore: "restores the last good server.properties",
				restart.ActBegin: "informs the probes of a planned restart", restart.ActEnd: "informs the probes of its end",
				restart.ActRestart: "restarts the unit",
			}[v.do.Kind])
		}
	case acts, actsUnheard, actsInVain, passes:
	case goesWrong, corrected, handsOut, resumes: // it stands above already
	case starts, answers, syncs, exits, fenced, posts, takes:
		fmt.Fprintln(&s.out, s.x.label(e))
	}
	for i := range s.x.o.n {
		if was, is := before.b[i], s.w.b[i]; was.inv != is.inv {
			fmt.Fprintf(&s.out, "broker %d starts with %s\n", i+1, hash(is.runs))
		}
	}
}

// run lets happen what happens by itself, one broker after the other, until nothing does any more;
// or until what an agent does next, or says, has a text in it: `run until agent 1: restarts the unit`.
func (s *scenario) run(until string) {
	s.t.Helper()
	began, seen := s.out.Len(), map[world]int{}
	for range 2000 {
		if until != "" && strings.Contains(s.out.String()[began:], until) {
			return
		}
		moved := false
		for range s.x.o.n {
			i := s.next
			s.next = (s.next + 1) % s.x.o.n
			if moved = s.pick(func(e event, urgent bool) bool { return urgent && int(e.arg) == i }); moved {
				break
			}
		}
		if moved {
			continue
		}
		// A short while brings something new, or a long one does, or it has all been there.
		seen[s.w]++
		if seen[s.w] > 2 {
			if until != "" {
				s.t.Fatalf("%q never happens:\n%s%s", until, s.out.String(), s.x.describe(&s.w))
			}
			return
		}
		while := seen[s.w] - 1
		s.pick(func(e event, _ bool) bool { return e.kind == passes && int(e.arg) == while })
	}
	s.t.Fatalf("there is no end:\n%s", s.out.String())
}

// status shows every broker and the log.
func (s *scenario) status() {
	for i := range s.x.o.n {
		v, b := s.x.vms[s.w.vm[i]], &s.w.b[i]
		how := "down"
		switch {
		case b.has(ready | listed | inSync):
			how = "serves, in sync"
		case b.has(ready):
			how = "serves"
		case b.has(up):
			how = "starting"
		}
		says := "no agent runs"
		if st := v.a.Status(); !v.dead {
			says = fmt.Sprintf("%s (%s)", st.Phase, st.Reason.Code)
		}
		fmt.Fprintf(&s.out, "broker %d: %s, runs %s; %s\n", i+1, how, hash(b.runs), says)
	}
	v := s.x.views[s.w.log]
	for _, c := range v.Claims {
		fmt.Fprintf(&s.out, "claim of broker %d\n", c.Broker)
	}
	for m := range v.Halts {
		fmt.Fprintf(&s.out, "halt of %s\n", m)
	}
}
