package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
)

// checkNode says which broker this is. Where the file cannot be read, the unit may name another one.
func checkNode(ctx context.Context, s *settings.Settings, n host.Node, err error, offline bool) Finding {
	if err != nil && !offline {
		for _, file := range startedWith(ctx, s) {
			if file != s.ServerProperties {
				err = fmt.Errorf("%w. %s starts the broker with %s: set `server_properties: %s` in the settings", err,
					s.Unit, file, file)
			}
		}
	}
	return ofFile(judged("server.properties", err, fmt.Sprintf("%s, broker %d, %s at %s", s.ServerProperties,
		n.BrokerID, n.Word(), n.Agents.Address())))
}

// parseManifest checks the manifest by itself. s is nil where the settings cannot be read.
func parseManifest(s *settings.Settings, o Options) (*config.Manifest, []Finding) {
	path, note, data, err := o.manifest(s)
	var m *config.Manifest
	if err == nil {
		m, err = config.ParseManifest(path, data)
	}
	findings := []Finding{judgedFile("manifest", err, note)}
	if o.Manifest == nil { // the one that the agent watches
		findings = append(findings, checkMount("manifest", path)...)
	}
	if err != nil {
		return nil, findings
	}
	return m, findings
}

// checkRender checks what the manifest makes of this broker.
func checkRender(s *settings.Settings, n host.Node, m *config.Manifest) (config.Desired, []Finding) {
	var findings []Finding
	const after = "manifest after the one in force"
	moves, refusal, unseen := host.Successor(s, m)
	if unseen != nil {
		findings = append(findings, doubtful(after, "%s", config.OneLine(unseen)))
	} else {
		findings = append(findings, judgedFile(after, refusal, ""))
	}
	for _, move := range moves {
		findings = append(findings, doubtful(after, "%s", move))
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
	return desired, findings
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
	if service, err := user.Lookup(settings.ServiceUser); err == nil && uid != 0 && service.Uid != strconv.Itoa(uid) {
		return doubtful("user", "uid %d, and the agent runs as %s: what follows says nothing of the agent's rights; run "+
			"check with sudo, it then takes the agent's user", uid, settings.ServiceUser)
	}
	if uid == 0 {
		return doubtful("user", "running as root, so checks of rights prove nothing about the agent's user; use the "+
			"settings file of kpls-agent.service (check then switches to its user); otherwise run this as that user")
	}
	return well("user", "uid %d", uid)
}

// writable asks for the right to a folder, or to make it.
func writable(dir string) error {
	if err := unix.Access(existing(dir), unix.W_OK|unix.X_OK); err != nil {
		err = fmt.Errorf("the folder %s cannot be written: %w", existing(dir), err)
		if errors.Is(err, fs.ErrPermission) {
			return settings.Denied(err)
		}
		return fmt.Errorf("%w; name another one as state_dir in the settings", err)
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
