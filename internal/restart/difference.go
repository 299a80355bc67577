package restart

import "fmt"

// difference is how a process differs from what it should run. The zero value is none. It is put into words where
// it is shown: most decisions only ask whether there is one.
type difference struct {
	kind differenceKind
	// name is the listener, or who asked for the restart; has and want are fingerprints of the listener.
	name, has, want string
}

type differenceKind uint8

const (
	noDifference differenceKind = iota
	listenerMissing
	listenerOther
	listenerLeft
	hiddenValue
	restartAskedFor
)

func (d difference) String() string {
	switch d.kind {
	case listenerMissing:
		return fmt.Sprintf("the process does not have %s yet", d.name)
	case listenerOther:
		return fmt.Sprintf("the process has %s as %q, wanted is %q", d.name, d.has, d.want)
	case listenerLeft:
		return fmt.Sprintf("the process still has %s", d.name)
	case hiddenValue:
		return "a hidden value, such as a password, is to change"
	case restartAskedFor:
		return "a rolling restart was asked for by " + d.name
	default:
		return ""
	}
}

// drifts is true if the process is known to differ from what is asked.
func (s *round) drifts() bool { return s.drift().kind != noDifference }

// drift says how the process differs from what is asked; no difference, too, where that is not known.
func (s *round) drift() difference {
	if !s.compared {
		s.drifted, s.compared = s.compare(), true
	}
	return s.drifted
}

func (s *round) compare() difference {
	if s.f.Manifest.Hash == "" || s.f.Running.At.IsZero() || s.f.Running.Listeners == nil {
		return difference{}
	}
	if d := differs(s.f.Running.Listeners, s.f.Manifest.Listeners, s.f.Manifest.Absent); d.kind != noDifference {
		return d
	}
	if s.f.Manifest.HiddenChanges || s.j.Hidden {
		return difference{kind: hiddenValue}
	}
	if q := s.v.Request(); q != nil && q.ID != s.j.Request {
		return difference{kind: restartAskedFor, name: q.By}
	}
	return difference{}
}

// differs compares what a process runs with what it should run.
func differs(running, want map[string]string, absent []string) difference {
	for _, name := range sortedKeys(want, make([]string, 0, few)) {
		switch has, ok := running[name]; {
		case !ok:
			return difference{kind: listenerMissing, name: name}
		case has != want[name]:
			return difference{listenerOther, name, has, want[name]}
		}
	}
	for _, name := range absent {
		if _, ok := running[name]; ok {
			return difference{kind: listenerLeft, name: name}
		}
	}
	return difference{}
}
