package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/kpls-agent/docs"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup"
)

// The pages are text in the repository, so a review sees them; these tests
// hold them equal to the commands and to the declarations of the files.

func TestManCommand(t *testing.T) {
	root := newRoot(&shared{stdout: io.Discard, stderr: io.Discard})
	var b strings.Builder
	b.WriteString(`.\" Written by ` + "`go test ./cmd/kpls-agent -update`" + `.
.TH KPLS-AGENT 1 "" "kpls-agent" "User commands"
.SH NAME
kpls-agent \- ` + roff(lowerFirst(root.Short)) + `
.SH SYNOPSIS
.B kpls-agent
.I COMMAND
.RI [ FLAGS ]
.SH DESCRIPTION
One agent runs on each broker VM of a Kafka cluster. It keeps the listeners in server.properties as the manifest says,
which is the same on all brokers. It restarts brokers one safe step at a time, coordinated through a Kafka topic. It answers the
load balancer's TCP probe: the port is open while this broker serves the listener. It publishes Prometheus metrics.
.PP
.B kpls-agent run
is what the service kpls-agent.service does. The other commands are for operators.
.SH COMMANDS
`)
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		manCommand(&b, c)
	}
	b.WriteString(".SH FLAGS OF ALL COMMANDS\n")
	manFlags(&b, root.PersistentFlags())
	b.WriteString(".TP\n\\fB\\-\\-version\\fR\nthe version, instead of a command\n")
	b.WriteString(`.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
failed
.TP
.B 2
wrong usage, or a file with faults
.TP
.B 3
differs, or blocked
.TP
.B 4
somebody has to see to something (only status \-\-exit\-code)
.SH SIGNALS
.TP
.B SIGHUP
.B kpls-agent run
reads the manifest again at once;
.B systemctl reload kpls-agent
sends it.
.TP
.B SIGTERM
ends it. The next agent process continues a restart that is under way.
.SH FILES
.TP
.I /etc/kpls-agent/manifest.yaml
the manifest, the same bytes on every broker VM
.TP
.I /etc/kpls-agent/kpls-agent.yaml
this VM's settings; may be missing
.TP
.I /var/lib/kpls-agent
what must survive a crash
.TP
.I ` + setup.DropInPath + `
.TQ
.I ` + setup.RulePath + `
.TQ
.I ` + setup.OverridePath + `
what
.B kpls-agent setup
gives the service on this VM
.TP
.I ` + docs.Installed + `
the manual for operators: every reason and what to do, every command, procedures
.TP
.I /usr/share/doc/kpls-agent/examples
examples of all of these, of Kafka's unit and for cloud-init
.SH SEE ALSO
.BR kpls-agent.yaml (5),
.BR systemctl (1),
.BR polkit (8)
`)
	hold(t, "../../packaging/man/kpls-agent.1", b.String())
}

func TestManSettings(t *testing.T) {
	var b strings.Builder
	b.WriteString(`.\" Written by ` + "`go test ./cmd/kpls-agent -update`" + `.
.TH KPLS-AGENT.YAML 5 "" "kpls-agent" "File formats"
.SH NAME
kpls-agent.yaml \- what is special to one broker VM, and the manifest of the cluster
.SH DESCRIPTION
.I /etc/kpls-agent/kpls-agent.yaml
holds this VM's settings: paths, the unit to restart, the login to Kafka. Every field has a default, so the file may be empty or
missing. Relative paths begin at the folder of the file.
.PP
.I /etc/kpls-agent/manifest.yaml
holds what the whole cluster shall be, in the same bytes on every broker VM.
.PP
Both are read strictly: an unknown field, a key that stands twice, a wrong type or a value out of its range is a fault.
.B kpls-agent check
names all faults with their places. Anchors, aliases, merge keys, tags and a second document are refused. Durations are written as 60s,
1m30s or 0. JSON schemas for editors are in
.IR /usr/share/kpls-agent .
.PP
After a change of the settings type:
.PP
.RS 4
.B kpls-agent setup && systemctl restart kpls-agent
.RE
.PP
A change of the manifest is noticed by itself.
.SH SETTINGS
`)
	manFields(t, &b, settings.Shape().Reference())
	b.WriteString(".SH MANIFEST\n")
	manFields(t, &b, config.ManifestShape().Reference())
	b.WriteString(`.SH SEE ALSO
.BR kpls-agent (1)
`)
	hold(t, "../../packaging/man/kpls-agent.yaml.5", b.String())
}

func manCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimSuffix(c.UseLine(), " [flags]")))
	text := c.Long
	if text == "" {
		text = c.Short
	}
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, "  ") { // lines that stay as they are
			fmt.Fprintf(b, ".nf\n%s\n.fi\n", roff(paragraph))
			continue
		}
		b.WriteString(roff(paragraph) + "\n")
	}
	manFlags(b, c.LocalNonPersistentFlags())
	fmt.Fprintf(b, ".PP\nExamples:\n.PP\n.nf\n%s\n.fi\n", strings.ReplaceAll(roff(c.Example), "'", `\(aq`))
}

func manFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR", roff(name))
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(b, "\n%s", roff(usage))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			fmt.Fprintf(b, " (by default %s)", roff(f.DefValue))
		}
		b.WriteString("\n")
	})
}

// manFields turns the reference of the manual, a table in Markdown, into a page.
func manFields(t *testing.T, b *strings.Builder, table string) {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(table), "\n")[2:]
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 4 {
			t.Fatalf("the table has changed: %q", row)
		}
		field, kind, otherwise, doc := plain(cells[0]), plain(cells[1]), plain(cells[2]), plain(cells[3])
		switch otherwise {
		case "required", "none":
		case "its fields'":
			otherwise = "by default that of its fields"
		default:
			otherwise = "by default " + otherwise
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR (%s; %s)\n%s\n", roff(field), roff(kind), roff(otherwise), roff(doc))
	}
}

// plain takes Markdown's marks away.
func plain(s string) string { return strings.NewReplacer("`", "", "**", "").Replace(s) }

// roff escapes what troff would not print as it is.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "").Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
