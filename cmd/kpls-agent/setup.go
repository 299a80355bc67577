package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// agentUser is the user of the package's service.
const agentUser = "kpls-agent"

const (
	dropInPath = "/etc/systemd/system/kpls-agent.service.d/10-setup.conf"
	rulePath   = "/etc/polkit-1/rules.d/50-kpls-agent.rules"
)

func newSetup(s *shared) *cobra.Command {
	var dry, undo bool
	c := &cobra.Command{
		Use: "setup", Short: "Give the service the rights that this VM's settings ask for", Args: cobra.NoArgs,
		Long: "Reads the settings and gives the service, which is not root, what it needs on this VM and no more:\n" +
			"to restart the broker's unit, to replace server.properties, to read the files with its secrets, and to\n" +
			"start before the broker does. It writes\n\n" +
			"  " + dropInPath + "\n  " + rulePath + "\n\n" +
			"and access control lists. What the broker's unit runs and the service cannot read, such as a script of\n" +
			"root's alone, it writes down for it in " + host.SeenPath + ". Faults of the unit are left\n" +
			"to be done by hand. Prints each thing that it changes; a second time it changes nothing.\n" +
			"Run it again after a change of the settings, then `systemctl restart kpls-agent`. The package runs it\n" +
			"when it is installed and upgraded, and with --undo before it is removed.\n\n" +
			"Exits with 1 if something is left to be done by hand, 3 if --dry-run found something to change.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("only root may give rights; run it with sudo")
			}
			u := &setup{dropIn: dropInPath, rule: rulePath, seen: host.SeenPath, dry: dry, say: func(format string, args ...any) { fmt.Fprintf(s.stdout, format+"\n", args...) }}
			var err error
			if u.who, err = lookUp(agentUser); err != nil {
				return err
			}
			if booted() {
				m, err := unit.NewManager(cmd.Context())
				if err != nil {
					return err
				}
				defer m.Close()
				if u.version, err = m.Version(); err != nil {
					return err
				}
				u.reload, u.names, u.judge = m.Reload, m.Names, unitFaults
			}
			if undo {
				return u.undo(cmd.Context())
			}
			// The password is the service's to read, perhaps from its own environment.
			vm, err := settings.LoadAlone(s.settingsPath)
			if err != nil {
				return invalid(err)
			}
			return u.apply(cmd.Context(), s.settingsPath, vm)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, only say what would be changed")
	c.Flags().BoolVar(&undo, "undo", false, "take back all that setup has given")
	return c
}

// account is a user as the kernel knows it.
type account struct {
	name     string
	uid, gid uint32
}

func lookUp(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("look up the service's user: %w; install the package, or type: systemd-sysusers kpls-agent.conf", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("look up the service's user: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("look up the service's user: %w", err)
	}
	return account{name, uint32(uid), uint32(gid)}, nil
}

// setup makes this machine's grants equal to what its settings ask for.
type setup struct {
	who          account
	dropIn, rule string
	dry          bool
	say          func(format string, args ...any)
	reload       func(context.Context) error // nil where systemd does not run
	version      int                         // of systemd; 0 if it is not known
	// names are a unit's, systemd's own first; nil where systemd does not run.
	names func(ctx context.Context, unit string) ([]string, error)
	// judge says what is wrong with the broker's unit, and what of it is hidden from the service; nil
	// where systemd does not run.
	judge func(context.Context, *settings.Settings, account) ([]finding, *unit.Seen, error)
	seen  string // the file for what is hidden

	changed bool
}

// apply gives what is missing and takes back what an earlier run gave and is not needed any more.
func (u *setup) apply(ctx context.Context, path string, s *settings.Settings) error {
	old, err := readRecord(u.dropIn)
	if err != nil {
		return err
	}
	w := plan(path, s, u.who, old)
	for _, g := range old.grants {
		if !slices.ContainsFunc(w.record.grants, func(n grant) bool { return n.path == g.path }) {
			if err := u.revoke(g); err != nil {
				return err
			}
		}
	}
	for _, o := range old.owners {
		if !slices.Contains(w.record.owners, o) {
			if err := u.giveBack(o); err != nil {
				return err
			}
		}
	}
	for _, g := range w.record.grants {
		if err := u.grant(g); err != nil {
			w.left = append(w.left, err.Error())
		}
	}
	reload, err := u.write(u.dropIn, dropIn(path, w, u.version))
	if err != nil {
		return err
	}
	if s.Unit != "" {
		names := []string{s.Unit}
		if u.names != nil {
			if names, err = u.names(ctx, s.Unit); err != nil {
				return err
			}
		}
		_, err = u.write(u.rule, polkitRule(names, u.who.name))
	} else {
		_, err = u.remove(u.rule)
	}
	if err == nil && reload {
		err = u.daemonReload(ctx)
	}
	if err != nil {
		return err
	}
	if u.judge != nil {
		faults, seen, err := u.judge(ctx, s, u.who)
		if err == nil {
			err = u.writeDown(seen)
		}
		if err != nil {
			return err
		}
		for _, f := range faults {
			w.left = append(w.left, fmt.Sprintf("%s: %s", f.What, f.Text))
		}
	}
	switch {
	case !u.changed:
		u.say("nothing to change")
	case reload && !u.dry:
		u.say("the service has it after: systemctl restart kpls-agent")
	}
	for _, l := range w.left {
		u.say("left to do: %s", l)
	}
	switch {
	case len(w.left) > 0:
		return &exitError{code: exitFailed}
	case u.changed && u.dry:
		return &exitError{code: exitDiffers}
	}
	return nil
}

// undo takes back what the drop-in records, and the files.
func (u *setup) undo(ctx context.Context) error {
	old, err := readRecord(u.dropIn)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range old.grants {
		errs = append(errs, u.revoke(g))
	}
	for _, o := range old.owners {
		errs = append(errs, u.giveBack(o))
	}
	_, err = u.remove(u.rule)
	errs = append(errs, err)
	_, err = u.remove(u.seen)
	errs = append(errs, err)
	reload, err := u.remove(u.dropIn)
	errs = append(errs, err)
	if reload {
		if !u.dry {
			_ = os.Remove(filepath.Dir(u.dropIn)) // stays where an administrator has drop-ins there
		}
		errs = append(errs, u.daemonReload(ctx))
	}
	if !u.changed {
		u.say("nothing to take back")
	}
	return errors.Join(errs...)
}

// did says what is changed, and is true if it shall be.
func (u *setup) did(format string, args ...any) bool {
	u.changed = true
	if u.dry {
		format = "would: " + format
	}
	u.say(format, args...)
	return !u.dry
}

func (u *setup) daemonReload(ctx context.Context) error {
	if u.reload == nil || !u.did("have systemd read its units again") {
		return nil
	}
	return u.reload(ctx)
}

func (u *setup) write(path, text string) (changed bool, err error) {
	now, err := os.ReadFile(path)
	if err == nil && string(now) == text {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at what setup wrote before: %w", err)
	}
	if !u.did("write %s", path) {
		u.say("%s", indent(text))
		return true, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // systemd and polkit read there
		return false, fmt.Errorf("make the folder: %w", err)
	}
	return true, durable.WriteFile(path, []byte(text), durable.Options{Mode: 0o644})
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
}

func (u *setup) remove(path string) (changed bool, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if !u.did("remove %s", path) {
		return true, nil
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("take back: %w", err)
	}
	return true, nil
}

func (u *setup) grant(g grant) error {
	list, err := readACL(g.path)
	if err != nil {
		return err
	}
	if list.user(u.who.uid)&g.rights == g.rights {
		return nil
	}
	if !u.did("let %s %s %s", u.who.name, g.rights.words(), g.path) {
		return nil
	}
	err = list.grant(u.who.uid, g.rights).write(g.path)
	if errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("the file system of %s has no access control lists; let the group %s %s it by its mode, and make %s a member of that group", g.path, u.who.name, g.rights.words(), u.who.name)
	}
	return err
}

func (u *setup) revoke(g grant) error {
	list, err := readACL(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if list.user(u.who.uid) == 0 || !u.did("let %s no longer %s %s", u.who.name, g.rights.words(), g.path) {
		return nil
	}
	return list.revoke(u.who.uid).write(g.path)
}

// giveBack gives a file that the agent has replaced, and so owns, to its earlier owner.
func (u *setup) giveBack(o ownership) error {
	uid, _, err := ownerOf(o.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && uid != u.who.uid {
		return nil
	}
	if err != nil {
		return err
	}
	if !u.did("give %s back to %s", o.path, userName(o.uid)) {
		return nil
	}
	if err := os.Lchown(o.path, int(o.uid), -1); err != nil {
		return fmt.Errorf("give the file back: %w", err)
	}
	return nil
}
