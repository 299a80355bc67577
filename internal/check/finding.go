package check

import (
	"fmt"

	"example.com/kpls-agent/internal/config"
)

// Level says how much a finding matters.
type Level string

// The levels of a finding.
const (
	OK      Level = "ok"
	Warning Level = "warning" // works, and might not some day
	Fault   Level = "fault"   // does not work
)

// Finding is one line of `check`.
type Finding struct {
	What  string `json:"what"`
	Level Level  `json:"level"`
	// Text says what was found and, but for what is well, what to do.
	Text string `json:"text,omitempty"`

	// OfFile is true for a fault of a file: it is wrong, and not what is around it.
	OfFile bool `json:"-"`
}

func well(what, format string, args ...any) Finding {
	return Finding{What: what, Level: OK, Text: fmt.Sprintf(format, args...)}
}

func doubtful(what, format string, args ...any) Finding {
	return Finding{What: what, Level: Warning, Text: fmt.Sprintf(format, args...)}
}

func broken(what, format string, args ...any) Finding {
	return Finding{What: what, Level: Fault, Text: fmt.Sprintf(format, args...)}
}

// judged is what has one way to be wrong.
func judged(what string, err error, note string) Finding {
	if err != nil {
		return broken(what, "%s", config.OneLine(err))
	}
	return well(what, "%s", note)
}

// ofFile makes a fault one of a file that is wrong.
func ofFile(f Finding) Finding {
	f.OfFile = f.Level == Fault
	return f
}
