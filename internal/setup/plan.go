package setup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup/acl"
)

// grant is a right on one path that an access control list gives.
type grant struct {
	rights acl.Rights
	path   string
}

// ownership is who owned a file before the agent first replaced it.
type ownership struct {
	uid  uint32
	path string
}

// record is what setup has given, as the drop-in keeps it: only root can write
// there, unlike the agent's own folders.
type record struct {
	grants []grant
	owners []ownership
}

// wanted is all that the settings ask for.
type wanted struct {
	record  record
	unit    string   // "" with commands
	folders []string // to be written
	seen    []string // log directories that the service's own /tmp and homes hide
	group   string   // of server.properties, if the agent has to be in it
	gid     uint32   // its number, or that of the agent's own group
	left    []string
}

// plan finds out what the agent lacks on this machine.
func plan(path string, s *settings.Settings, who Account, old record) wanted {
	w := wanted{unit: s.Unit}
	for _, open := range []string{path, s.Manifest} {
		if _, err := os.Stat(open); err == nil && lacks(open, acl.Read, who, who.gid) {
			w.left = append(w.left, fmt.Sprintf(
				"%s cannot be read by %s; it holds no secrets, so type: chmod a+r %s", open, who.name, open,
			))
		}
	}
	w.broker(s.ServerProperties, who, old)
	w.storage(s.ServerProperties, who)
	if s.StateDir != settings.StateDirectory {
		w.state(s.StateDir, who)
	}
	secrets, err := secretFiles(&s.Kafka)
	if err != nil {
		w.left = append(w.left, err.Error())
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		target, err := filepath.EvalSymlinks(secret)
		switch {
		case err != nil:
			w.left = append(w.left, fmt.Sprintf("%v; put the file there that the settings name", err))
		case inHome(filepath.Dir(target)):
			w.left = append(w.left, fmt.Sprintf("%s is in a home, where the service sees nothing but the folder of "+
				"server.properties; move it to /etc/kpls-agent", target))
		default:
			w.reach(target, acl.Read, who, who.gid)
		}
	}
	return w
}

// secretFiles are those of the login; with an error, as far as they are known.
func secretFiles(k *settings.Kafka) ([]string, error) {
	files := []string{k.SASL.PasswordFile, k.TLS.KeyFile, k.TLS.CertFile, k.TLS.CAFile, k.ClientProperties}
	if k.ClientProperties == "" {
		return files, nil
	}
	c, err := login.ReadClient(k.ClientProperties)
	if c != nil {
		files = append(files, c.Files...)
	}
	return files, err
}

// broker adds what server.properties needs.
func (w *wanted) broker(path string, who Account, old record) {
	file, err := filepath.EvalSymlinks(path)
	var uid, gid uint32
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(file)
	}
	if err == nil {
		uid, gid, err = ownerOf(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		w.left = append(w.left, fmt.Sprintf("%s does not exist; install Kafka, or name its file as "+
			"server_properties in the settings, then run `kpls-agent setup` again", path))
		return
	}
	if err != nil {
		w.left = append(w.left, err.Error())
		return
	}
	if uid == who.uid {
		uid = 0
		for _, o := range old.owners {
			if o.path == file {
				uid = o.uid
			}
		}
	}
	w.record.owners = append(w.record.owners, ownership{uid, file})
	if why := unreadable(info.Mode().Perm(), gid); why != "" {
		w.left = append(w.left, fmt.Sprintf("%s %s; let the group that Kafka runs in read it: chgrp kafka %s && "+
			"chmod 0640 %s", file, why, file, file))
	}
	if gid != 0 && gid != who.gid {
		w.group = groupName(gid)
	} else {
		gid = who.gid
	}
	w.gid = gid
	w.writes(filepath.Dir(file), who, gid)
}

// storage lets the agent see whether each log directory has its meta.properties. One that is
// not there yet, or that is named relative to where Kafka is started, is left alone.
func (w *wanted) storage(path string, who Account) {
	data, err := os.ReadFile(path)
	if err != nil {
		return // reported above
	}
	file, err := config.ReadProperties(path, data)
	if err != nil {
		return // check tells of it
	}
	for _, dir := range file.LogDirs() {
		target, err := filepath.EvalSymlinks(dir)
		if err != nil || !filepath.IsAbs(dir) {
			continue
		}
		if inHome(target) || inTmp(target) {
			w.seen = append(w.seen, target)
		}
		w.reach(target, acl.Enter, who, w.gid)
	}
}

// inTmp is true for what PrivateTmp= hides.
func inTmp(folder string) bool {
	return strings.HasPrefix(folder, "/tmp/") || strings.HasPrefix(folder, "/var/tmp/")
}

// state adds a state directory other than the one that systemd makes.
func (w *wanted) state(path string, who Account) {
	folder, err := filepath.EvalSymlinks(path)
	if err != nil {
		w.left = append(w.left, fmt.Sprintf("%v; make the state directory: install -d -m 0750 -o %s -g %s %s, then "+
			"run `kpls-agent setup` again", err, who.name, who.name, path))
		return
	}
	w.writes(folder, who, who.gid)
}

func (w *wanted) writes(folder string, who Account, gid uint32) {
	w.folders = append(w.folders, folder)
	w.reach(folder, acl.Read|acl.Write|acl.Enter, who, gid)
}

// inHome is true for what ProtectHome= hides.
func inHome(folder string) bool {
	return slices.ContainsFunc([]string{"/home/", "/root/", "/run/user/"},
		func(home string) bool { return strings.HasPrefix(folder+"/", home) })
}

// unreadable says why the agent cannot read a file, or why not all who read it now
// could read what the agent replaces it with (see internal/durable).
func unreadable(perm fs.FileMode, gid uint32) string {
	group, other := perm>>3&7, perm&7
	switch {
	case group&4 == 0 && other&4 == 0:
		return "can be read by its owner alone, and the agent has to read and to replace it"
	case gid == 0 && group&^other != 0:
		return "belongs to the group root, which the agent cannot join"
	}
	return ""
}

// reach adds the rights on a path, and on the folders that lead there. gid is a
// group that the agent is in, in addition to its own.
func (w *wanted) reach(path string, r acl.Rights, who Account, gid uint32) {
	var chain []grant
	// What the drop-in mounts into an empty home stands in folders of systemd's.
	mounted := slices.Contains(w.folders, path) && inHome(path) || slices.Contains(w.seen, path)
	for dir := filepath.Dir(path); dir != "/" && !mounted; dir = filepath.Dir(dir) {
		chain = append(chain, grant{acl.Enter, dir})
	}
	for _, g := range append(chain, grant{r, path}) {
		if lacks(g.path, g.rights, who, gid) && !slices.Contains(w.record.grants, g) {
			w.record.grants = append(w.record.grants, g)
		}
	}
}

// lacks is true unless the agent has the rights without setup's help.
func lacks(path string, r acl.Rights, who Account, gid uint32) bool {
	list, err := acl.Of(path)
	if err != nil {
		return true // giving them reports the error
	}
	uid, group, err := ownerOf(path)
	if err != nil {
		return true
	}
	return list.Allows(uid, group, who.uid, who.gid, gid)&r != r
}

func ownerOf(path string) (uid, gid uint32, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("%s: its owner is not known", path)
	}
	return st.Uid, st.Gid, nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id // systemd takes the number, too
}

const recordMark = "#   "

// preserves is the first systemd that knows FileDescriptorStorePreserve=.
const preserves = 254

// dropIn is the part of the agent's unit that belongs to this machine, and to its systemd.
func dropIn(path string, w wanted, version int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by `kpls-agent setup` from %s. Change the settings and run it again\n# instead of "+
		"changing this file.\n", path)
	if len(w.record.grants)+len(w.record.owners) > 0 {
		b.WriteString("#\n# What it gave, and `kpls-agent setup --undo` takes back:\n")
	}
	for _, g := range w.record.grants {
		fmt.Fprintf(&b, "%s%s %s\n", recordMark, g.rights, g.path)
	}
	for _, o := range w.record.owners {
		fmt.Fprintf(&b, "%sowner %d %s\n", recordMark, o.uid, o.path)
	}
	if w.unit != "" {
		fmt.Fprintf(&b, "\n[Unit]\n# At the first boot server.properties is right before the broker "+
			"starts.\nBefore=%s\n", w.unit)
	}
	b.WriteString("\n[Service]\n")
	if len(w.folders) > 0 {
		b.WriteString("# The folder of server.properties, which is replaced by rename.\n")
	}
	if slices.ContainsFunc(slices.Concat(w.folders, w.seen), inHome) {
		b.WriteString("ProtectHome=tmpfs\n")
	}
	for _, folder := range w.folders {
		if inHome(folder) {
			fmt.Fprintf(&b, "BindPaths=%s\n", word("-"+folder))
		} else {
			fmt.Fprintf(&b, "ReadWritePaths=%s\n", word("-"+folder))
		}
	}
	if len(w.seen) > 0 {
		b.WriteString("# Log directories of the broker: whether their meta.properties are still there.\n")
	}
	for _, dir := range w.seen {
		fmt.Fprintf(&b, "BindReadOnlyPaths=%s\n", word("-"+dir))
	}
	if w.group != "" {
		fmt.Fprintf(&b, "# Its group: it stays Kafka's.\nSupplementaryGroups=%s\n", w.group)
	}
	if version >= preserves {
		b.WriteString("# An agent that was stopped closes no probe of a healthy broker, for a " +
			"while.\nFileDescriptorStorePreserve=yes\n")
		b.WriteString("ExecStopPost=-+/usr/bin/systemctl --no-block restart kpls-agent-expire.timer\n")
		b.WriteString("ExecStartPost=-+/usr/bin/systemctl --no-block stop kpls-agent-expire.timer\n")
	}
	return b.String()
}

// word is a value of a unit file that is one word for systemd.
func word(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s) + `"`
}

// readRecord reads back what an earlier run gave.
func readRecord(path string) (record, error) {
	var r record
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("look at what setup gave before: %w", err)
	}
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		line, ok := strings.CutPrefix(scan.Text(), recordMark)
		if !ok {
			continue
		}
		what, path, _ := strings.Cut(line, " ")
		if what == "owner" {
			id, file, _ := strings.Cut(path, " ")
			uid, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return r, fmt.Errorf("%s: cannot read %q; delete the line, and give %s back to its owner by hand",
					path, line, file)
			}
			r.owners = append(r.owners, ownership{uint32(uid), file})
			continue
		}
		r.grants = append(r.grants, grant{acl.Parse(what), path})
	}
	return r, nil
}

// polkitRule lets the agent's user restart this one unit, and start the judge. polkit is told systemd's own name of
// it, which stands among the names. It is ECMAScript 5, which is what polkit understands.
func polkitRule(names []string, who string, judge bool) string {
	quoted, _ := json.Marshal(names) // strings can always be written
	rule := restartRule(string(quoted), who)
	if judge {
		rule += judgeRule(who)
	}
	return rule
}

// judgeRule lets the agent's user start the service that asks the broker's own Kafka.
func judgeRule(who string) string {
	return fmt.Sprintf(`
// It may start the service that has Kafka judge a new server.properties.
polkit.addRule(function (action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" &&
      action.lookup("unit") == "%[2]s" &&
      action.lookup("verb") == "start" &&
      subject.user == "%[1]s") {
    return polkit.Result.YES;
  }
});
`, who, host.JudgeUnit)
}

func restartRule(quoted, who string) string {
	return fmt.Sprintf(`// Written by `+"`kpls-agent setup`"+`. Change the settings and run it again instead of
// changing this file. %[2]s has no right over a unit but those below.

// It may restart the broker's unit.
polkit.addRule(function (action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" &&
      %[1]s.indexOf(action.lookup("unit")) >= 0 &&
      action.lookup("verb") == "restart" &&
      subject.user == "%[2]s") {
    return polkit.Result.YES;
  }
});
`, quoted, who)
}
