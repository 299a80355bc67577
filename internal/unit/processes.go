package unit

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Process is a process of Kafka's on this machine.
type Process struct {
	PID   int
	Group string // its control group, such as /system.slice/kafka.service
	Argv  []string
	// Dir is its working directory; empty where it cannot be seen: only its own user and root see it.
	Dir string
	// Program is the file of its program, as the kernel names it; empty where it cannot be seen, as Dir.
	Program string
}

// processes asks systemd for all processes of the machine. The service cannot see those of
// others in /proc (ProtectProc=invisible), and systemd tells everybody (as `systemctl status` shows
// them): tried on systemd 252 under the service's own hardening, test/system, step `unit shapes`.
func (s *Systemd) processes(ctx context.Context) ([]Process, error) {
	b, err := s.connection(ctx)
	if err != nil {
		return nil, err
	}
	var list []struct {
		Group string
		PID   uint32
		Line  string
	}
	manager := b.signals.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.GetUnitProcesses", 0, "-.slice").
		Store(&list); err != nil {
		return nil, fmt.Errorf("ask systemd for the processes of this machine: %w", err)
	}
	var out []Process
	for _, l := range list {
		if !strings.Contains(l.Line, "afka") {
			continue
		}
		p := Process{PID: int(l.PID), Group: l.Group, Argv: splitQuoted(l.Line)}
		p.Dir, _ = os.Readlink(fmt.Sprintf("/proc/%d/cwd", l.PID)) // empty where it is hidden
		p.Program, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", l.PID))
		out = append(out, p)
	}
	return out, nil
}

// splitQuoted splits a command line that systemd has quoted for a shell.
func splitQuoted(line string) []string {
	var words []string
	err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Words(strings.NewReader(line), func(w *syntax.Word) bool {
		text, err := expand.Literal(nil, w)
		if err != nil {
			return false
		}
		words = append(words, text)
		return true
	})
	if err != nil {
		return strings.Fields(line) // unquoted, as older ones have it
	}
	return words
}

// kafka is the part of a Java command line behind Kafka's class: the file, and what overrides it.
// The pattern of kafka-server-stop.sh is ' kafka\.Kafka '.
func (p Process) kafka() ([]string, bool) {
	if len(p.Argv) == 0 || !strings.HasPrefix(path.Base(p.Argv[0]), "java") {
		return nil, false
	}
	for i, a := range p.Argv {
		if i > 0 && (a == "kafka.Kafka" || strings.HasSuffix(a, ".SupportedKafka")) {
			return p.Argv[i+1:], true
		}
	}
	return nil, false
}

// properties is the file that it was started with; false if that cannot be seen.
func (p Process) properties() (string, bool) {
	args, _ := p.kafka()
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return "", false
	}
	if filepath.IsAbs(args[0]) {
		return args[0], true
	}
	if p.Dir == "" {
		return args[0], false
	}
	return filepath.Join(p.Dir, args[0]), true
}

// unit is the innermost service or scope of a control group.
func (p Process) unit() string {
	parts := strings.Split(p.Group, "/")
	for _, part := range slices.Backward(parts) {
		if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			return part
		}
	}
	return p.Group
}

// userManager is the number of the user whose own service manager runs it; empty for the system's.
func (p Process) userManager() string {
	for part := range strings.SplitSeq(p.Group, "/") {
		if id, ok := strings.CutPrefix(part, "user@"); ok {
			return strings.TrimSuffix(id, ".service")
		}
	}
	return ""
}

func (p Process) String() string {
	file, _ := p.properties()
	if file == "" {
		file = "no file that can be seen"
	}
	return fmt.Sprintf("process %d of %s, with %s", p.PID, p.unit(), file)
}
