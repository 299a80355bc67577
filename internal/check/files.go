package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
)

func checkNode(s *settings.Settings, n host.Node, err error) Finding {
	return ofFile(judged("server.properties", err, fmt.Sprintf("%s, broker %d, %s at %s", s.ServerProperties,
		n.BrokerID, n.Word(), n.Agents.Address())))
}

// checkManifest checks the manifest, and what it makes of this broker.
func checkManifest(s *settings.Settings, n host.Node) (*config.Manifest, config.Desired, []Finding) {
	path := s.Manifest
	data, err := os.ReadFile(path)
	var m *config.Manifest
	if err == nil {
		m, err = config.ParseManifest(path, data)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; put the manifest there, the agent does nothing without one", err)
	}
	findings := append([]Finding{judgedFile("manifest", err, path)}, checkMount("manifest", path)...)
	if err != nil {
		return nil, config.Desired{}, findings
	}
	kept := host.KeptManifest(s)
	if prev, err := os.ReadFile(kept); err == nil {
		if p, err := config.ParseManifest(kept, prev); err == nil {
			findings = append(findings, judgedFile("manifest after the one in force", config.CheckSuccession(p, m), ""))
		}
	}
	r, desired, err := host.ViewFiles(s, n.BrokerID, host.Holding(s, m)).Render(m)
	note := "nothing to change"
	if err == nil && r.Changed {
		note = fmt.Sprintf("it changes %s in server.properties; `kpls-agent plan` shows how", strings.Join(r.Keys,
			", "))
	}
	findings = append(findings, judgedFile("manifest for this broker", err, note))
	if err == nil {
		for _, w := range r.Warnings {
			findings = append(findings, doubtful("manifest for this broker", "%s", w))
		}
	}
	return m, desired, findings
}

// checkMount tells of a file that is not the one that its writers replace. A mount
// that only the agent's own unit has is seen where the check runs within it.
func checkMount(what, path string) []Finding {
	if err := durable.Current(path); err != nil {
		return []Finding{ofFile(broken(what, "%s", err.Error()))}
	}
	if durable.Mounted(path) {
		return []Finding{doubtful(what, "%s is a mount point of its own: once its source is replaced by a rename, "+
			"as editors and deployment tools do, its old content stays here; mount the folder %s instead of the "+
			"file (`findmnt` lists the mounts)",
			path, filepath.Dir(path))}
	}
	return nil
}

// checkLines looks for lines of server.properties that Kafka reads without a word
// and that are hardly meant.
func checkLines(path string) []Finding {
	const what = "lines of server.properties"
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // said by the line of server.properties
	}
	var findings []Finding
	for _, odd := range config.Oddities(path, data) {
		findings = append(findings, doubtful(what, "%s", odd))
	}
	if len(findings) == 0 {
		return []Finding{well(what, "no key twice, no torn line")}
	}
	return findings
}

// judgedFile keeps the lines of a file's faults apart.
func judgedFile(what string, err error, note string) Finding {
	if err != nil {
		return ofFile(broken(what, "%s", err.Error()))
	}
	return well(what, "%s", note)
}

// checkPlaces checks what the agent must be able to write.
func checkPlaces(s *settings.Settings) []Finding {
	return []Finding{
		checkUser(os.Geteuid()),
		judged("right to replace server.properties", durable.Replaceable(s.ServerProperties), s.ServerProperties),
		judged("state directory", writable(s.StateDir), s.StateDir),
		checkSpace("space for server.properties", filepath.Dir(s.ServerProperties)),
		checkSpace("space in the state directory", s.StateDir),
	}
}

func checkUser(uid int) Finding {
	if uid == 0 {
		return doubtful("user", "running as root, so checks of rights prove nothing about the agent's user; use the "+
			"settings file of kpls-agent.service (check then switches to its user); otherwise run this as that user")
	}
	return well("user", "uid %d", uid)
}

// writable asks for the right to a folder, or to make it.
func writable(dir string) error {
	if err := unix.Access(existing(dir), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("the folder %s cannot be written by this user (%w); give the agent's user the right, or "+
			"name another one in the settings", existing(dir), err)
	}
	return nil
}

// existing is the folder, or the nearest one above that is there.
func existing(dir string) string {
	for {
		_, err := os.Stat(dir)
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return dir
		}
		dir = up
	}
}

// spaceNeeded is far more than the agent ever writes there.
const spaceNeeded = 16 << 20

func checkSpace(what, dir string) Finding {
	var st unix.Statfs_t
	if err := unix.Statfs(existing(dir), &st); err != nil {
		return doubtful(what, "how much there is cannot be seen (%v)", err)
	}
	return judgeSpace(what, dir, st.Bavail*uint64(st.Bsize)) //nolint:gosec // never negative
}

func judgeSpace(what, dir string, free uint64) Finding {
	if free < spaceNeeded {
		return doubtful(what, "the file system of %s has %d KiB left; free some space, or files cannot be replaced",
			dir, free>>10)
	}
	return well(what, "%d MiB", free>>20)
}
