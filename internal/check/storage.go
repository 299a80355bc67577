package check

import (
	"fmt"

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
