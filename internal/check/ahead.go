package check

import (
	"cmp"
	"fmt"
	"os"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// What `plan` and `check` say of what a restart would bring or remove.

// entityOf is the level as options of kafka-configs.
func entityOf(level string, broker int32) string {
	if level == "broker" {
		return fmt.Sprintf("--entity-name %d", broker)
	}
	return "--entity-default"
}

// DropText says that a restart would remove a dynamic setting, and what to do.
func DropText(d restart.DynamicDrop, broker int32) string {
	return fmt.Sprintf("%s is %s by kafka-configs %s, and a broker starts with %s (server.properties, or Kafka's "+
		"default where it has none): Kafka accepts at most twice and at least half of that, and otherwise refuses "+
		"all dynamic settings of that level, min.insync.replicas too; put %s into server.properties",
		d.Name, d.Dynamic, entityOf(d.Level, broker), d.File, d.Fix)
}

// DroppedText says that a start has removed a dynamic setting, and what to do.
func DroppedText(d restart.Dropped, broker int32) string {
	return fmt.Sprintf("%s is %s by kafka-configs %s, and the broker runs with %s: it refused the dynamic settings "+
		"of that level at its start; find the setting that its log names (\"configs could not be applied\"), put it "+
		"right, and set it again or restart the broker",
		d.Name, d.Dynamic, entityOf(d.Level, broker), cmp.Or(d.InForce, "none"))
}

// checkDynamic judges what kafka-configs has set, and what a restart would make of it.
func checkDynamic(entries map[string]config.RunningValue, file *config.Properties, broker int32) []Finding {
	var findings []Finding
	for _, d := range config.Dropped(entries) {
		findings = append(findings, broken("dynamic settings", "%s", DroppedText(restart.Dropped(d), broker)))
	}
	for _, d := range config.DropsAhead(entries, file) {
		findings = append(findings, broken("dynamic settings", "%s", DropText(restart.DynamicDrop(d), broker)))
	}
	if len(findings) == 0 {
		findings = append(findings, well("dynamic settings", "in force, and a restart keeps them"))
	}
	return findings
}

// PendingText says what the process was not started with. A line that is gone may be an --override,
// where these cannot be seen.
func PendingText(e restart.PendingEdit, overridesSeen bool) string {
	where, place := "server.properties", "line"
	if e.Override {
		where, place = "--override on the broker's command line", "override"
	}
	text := fmt.Sprintf("%s: the process was started with %s, and %s has %s",
		e.Name, cmp.Or(e.Running, "none"), where, cmp.Or(e.File, "none"))
	switch {
	case e.Invalid != "":
		text += fmt.Sprintf("; Kafka does not start with that: %s; correct the %s", e.Invalid, place)
	case e.File == "" && !overridesSeen:
		text += " (or --override on the command line has it)"
	}
	return text
}

// HiddenText says that a line of the file has no effect.
func HiddenText(e config.PendingEdit) string {
	return fmt.Sprintf("%s: server.properties has %s, and --override on the broker's command line has %s, which "+
		"hides that line, also after a restart; change the override, or remove it", e.Name, cmp.Or(e.File, "none"),
		cmp.Or(e.Running,
			"none"))
}

// checkAhead compares what the process runs with what it would find at a start. A file that
// cannot be read was reported before.
func checkAhead(s *settings.Settings, n host.Node, p host.Process, overrides map[string]string) []Finding {
	file, err := host.ReadProperties(s.ServerProperties)
	if err != nil {
		return nil
	}
	start := file.Under(overrides)
	findings := checkDynamic(p.Values, start, n.BrokerID)
	desired, err := desiredOf(s.Manifest, n.BrokerID)
	if err != nil {
		return findings // which lines are the manifest's is not known
	}
	edits := config.Pending(p.Values, start, desired, p.Version)
	hidden := config.Hidden(p.Values, file, overrides, desired, p.Version)
	return append(checkPending(edits, hidden, overrides != nil), findings...)
}

func desiredOf(manifest string, broker int32) (config.Desired, error) {
	data, err := os.ReadFile(manifest)
	if err != nil {
		return config.Desired{}, err
	}
	m, err := config.ParseManifest(manifest, data)
	if err != nil {
		return config.Desired{}, err
	}
	return m.For(broker)
}

func checkPending(edits, hidden []config.PendingEdit, overridesSeen bool) []Finding {
	const what = "edits of server.properties"
	var findings []Finding
	for _, e := range edits {
		text := "a restart brings this too: " + PendingText(restart.PendingEdit(e), overridesSeen)
		if e.Invalid != "" {
			findings = append(findings, ofFile(broken(what, "%s", text)))
		} else {
			findings = append(findings, doubtful(what, "%s", text))
		}
	}
	for _, e := range hidden {
		findings = append(findings, doubtful(what, "%s", HiddenText(e)))
	}
	if len(findings) == 0 {
		findings = append(findings, well(what, "the process was started with all of them"))
	}
	return findings
}
