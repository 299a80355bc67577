package check

import (
	"fmt"
	"strings"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
)

// checkStorage says what is wrong with the log directories.
func checkStorage(dirs []restart.LogDir, unknown string) []Finding {
	if unknown != "" {
		return []Finding{broken("log directories", "%s", unknown)}
	}
	var findings []Finding
	for _, d := range dirs {
		switch {
		case d.Fault != "":
			findings = append(findings, broken("log directories", "%s", d.Fault))
		case d.Unseen != "":
			findings = append(findings, doubtful("log directories", "%s%s", spaceOf(d), d.Unseen))
		case d.Free < 0:
			findings = append(findings, doubtful("log directories", "%s: its free space cannot be seen", d.Path))
		default:
			findings = append(findings, well("log directories", "%s%s", spaceOf(d), "its meta.properties is there"))
		}
	}
	return findings
}

func spaceOf(d restart.LogDir) string {
	if d.Free < 0 {
		return d.Path + ": "
	}
	return fmt.Sprintf("%s: %d MiB free of %d MiB; ", d.Path, d.Free>>20, d.Total>>20)
}

// checkCordoned says which log directories get no new partition (KIP-1066): where the broker has no other, Kafka makes
// new topics without it, or not at all. What is there already stays, so no restart is in danger.
func checkCordoned(p host.Process, broker int32) []Finding {
	const what, name = "log directories", "cordoned.log.dirs"
	value := p.Values[name]
	if value.Value == "" && len(p.Cordoned) == 0 {
		return nil
	}
	source, remedy := "server.properties", "remove "+name+" from it; that counts from the next start on"
	if value.Dynamic {
		level := "default"
		if len(value.Settings) > 0 && value.Settings[0].Source == config.SourceDynamicBroker {
			level = "broker"
		}
		entity := entityOf(level, broker)
		source = "kafka-configs " + entity
		remedy = "kafka-configs --bootstrap-server ... --alter --entity-type brokers " + entity + " --delete-config " + name
	}
	source = fmt.Sprintf("%s=%s of %s", name, value.Value, source)
	switch {
	case len(p.Cordoned) == 0 && len(p.Open) == 0: // the directories cannot be seen, which is said already
		return []Finding{doubtful(what, "some of them may be cordoned, and get no new partition (%s); to end that: %s", source,
			remedy)}
	case len(p.Cordoned) == 0:
		return []Finding{doubtful(what, "%s has no effect: the broker says that none of them is cordoned. Kafka 4.4.0 was "+
			"seen to do that where log.dirs has relative names", source)}
	case len(p.Open) == 0:
		return []Finding{doubtful(what, "all of this broker are cordoned (%s), so it gets no new partition, and a new topic "+
			"may find too few brokers for its replicas; to end that: %s", source, remedy)}
	}
	return []Finding{doubtful(what, "new partitions go to %s, and not to %s (%s); to end that: %s",
		strings.Join(p.Open, ", "), strings.Join(p.Cordoned, ", "), source, remedy)}
}
