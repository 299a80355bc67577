package setup

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

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup/acl"
	"example.com/kpls-agent/internal/unit"
)

// User is the user of the package's service.
const User = settings.ServiceUser

// What the package's service, polkit and needrestart read.
const (
	DropInPath = "/etc/systemd/system/kpls-agent.service.d/10-setup.conf"
	RulePath   = "/etc/polkit-1/rules.d/50-kpls-agent.rules"
	// OverridePath is read by needrestart; conf.d is the only folder that it has for this.
	OverridePath = "/etc/needrestart/conf.d/50-kpls-agent.conf"
)

// Account is a user as the kernel knows it.
type Account struct {
	name     string
	uid, gid uint32
}

// LookUp finds a user of this machine by name.
func LookUp(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, fmt.Errorf("look up the service's user: %w; install the package, or type: "+
			"systemd-sysusers kpls-agent.conf", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("look up the service's user: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return Account{}, fmt.Errorf("look up the service's user: %w", err)
	}
	return Account{name, uint32(uid), uint32(gid)}, nil
}

// Setup makes this machine's grants equal to what its settings ask for.
type Setup struct {
	Who          Account
	DropIn, Rule string
	Override     string // needrestart's file, in a folder of its own
	Dry          bool
	Say          func(format string, args ...any)
	Reload       func(context.Context) error // nil where systemd does not run
	Version      int                         // of systemd; 0 if it is not known
	// Names are a unit's, systemd's own first; nil where systemd does not run.
	Names func(ctx context.Context, unit string) ([]string, error)
	// Judge says what is wrong with the broker's unit, a line each, and what of it is hidden from the
	// service; nil where systemd does not run.
	Judge func(ctx context.Context, vm *settings.Settings, hidden func(path string) bool) ([]string, *unit.Seen, error)
	Seen  string // the file for what is hidden
	// Broker is the broker's unit as systemd has it; nil where systemd does not run.
	Broker      func(ctx context.Context, vm *settings.Settings) (unit.Setup, error)
	JudgeDropIn string // of the judge's unit

	changed bool
}

// Apply gives what is missing and takes back what an earlier run gave and is not needed any more.
func (u *Setup) Apply(ctx context.Context, path string, s *settings.Settings) (Outcome, error) {
	left, err := u.give(ctx, path, s)
	if err != nil {
		return 0, err
	}
	for _, l := range left {
		u.Say("left to do: %s", l)
	}
	switch {
	case len(left) > 0:
		return Left, nil
	case u.changed && u.Dry:
		return Differs, nil
	}
	return Done, nil
}

// Outcome says what apply came to.
type Outcome int

// The outcomes of apply.
const (
	Done    Outcome = iota
	Left            // something is left to be done by hand
	Differs         // a dry run found something to change
)

// give does the work of apply, and returns what is left to be done by hand.
func (u *Setup) give(ctx context.Context, path string, s *settings.Settings) ([]string, error) {
	old, err := readRecord(u.DropIn)
	if err != nil {
		return nil, err
	}
	names, err := u.names(ctx, s.Unit)
	if err == nil {
		err = u.override(names)
	}
	if err != nil {
		return nil, err
	}
	w := plan(path, s, u.Who, old)
	if err := u.giveUp(old, w.record); err != nil {
		return nil, err
	}
	for _, g := range w.record.grants {
		if err := u.grant(g); err != nil {
			w.left = append(w.left, err.Error())
		}
	}
	reload, err := u.write(u.DropIn, dropIn(path, w, u.Version))
	judge, another := false, false
	if err == nil {
		judge, another, err = u.judged(ctx, path, s)
	}
	if err == nil {
		err = u.allow(names, judge)
	}
	if err == nil && (reload || another) {
		err = u.daemonReload(ctx)
	}
	if err != nil {
		return nil, err
	}
	if u.Judge != nil {
		faults, seen, err := u.Judge(ctx, s, func(path string) bool { return hidden(path, u.Who) })
		if err == nil {
			err = u.writeDown(seen)
		}
		if err != nil {
			return nil, err
		}
		w.left = append(w.left, faults...)
	}
	switch {
	case !u.changed:
		u.Say("nothing to change")
	case reload && !u.Dry:
		u.Say("the service has it after: systemctl restart kpls-agent")
	}
	return w.left, nil
}

// giveUp revokes what an earlier setup gave and the new one does not.
func (u *Setup) giveUp(old, now record) error {
	for _, g := range old.grants {
		if !slices.ContainsFunc(now.grants, func(n grant) bool { return n.path == g.path }) {
			if err := u.revoke(g); err != nil {
				return err
			}
		}
	}
	for _, o := range old.owners {
		if !slices.Contains(now.owners, o) {
			if err := u.giveBack(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// names are the unit's names, systemd's own first; none for "", which is no unit.
func (u *Setup) names(ctx context.Context, unit string) ([]string, error) {
	if unit == "" {
		return nil, nil
	}
	if u.Names == nil {
		return []string{unit}, nil
	}
	return u.Names(ctx, unit)
}

// allow writes the polkit rule for the broker's unit and the judge, or removes it where there is none.
func (u *Setup) allow(names []string, judge bool) error {
	if len(names) == 0 {
		_, err := u.remove(u.Rule)
		return err
	}
	_, err := u.write(u.Rule, polkitRule(names, u.Who.name, judge))
	return err
}

// Undo takes back what the drop-in records, and the files.
func (u *Setup) Undo(ctx context.Context) error {
	old, err := readRecord(u.DropIn)
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
	_, err = u.remove(u.Rule)
	errs = append(errs, err)
	_, err = u.remove(u.Seen)
	errs = append(errs, err, u.override(nil))
	reload, err := u.remove(u.DropIn)
	errs = append(errs, err)
	if reload && !u.Dry {
		_ = os.Remove(filepath.Dir(u.DropIn)) // stays where an administrator has drop-ins there
	}
	judge, err := u.undoJudge()
	errs = append(errs, err)
	if reload || judge {
		errs = append(errs, u.daemonReload(ctx))
	}
	if !u.changed {
		u.Say("nothing to take back")
	}
	return errors.Join(errs...)
}

// did says what is changed, and is true if it shall be.
func (u *Setup) did(format string, args ...any) bool {
	u.changed = true
	if u.Dry {
		format = "would: " + format
	}
	u.Say(format, args...)
	return !u.Dry
}

func (u *Setup) daemonReload(ctx context.Context) error {
	if u.Reload == nil || !u.did("have systemd read its units again") {
		return nil
	}
	return u.Reload(ctx)
}

func (u *Setup) write(path, text string) (changed bool, err error) {
	now, err := os.ReadFile(path)
	if err == nil && string(now) == text {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at what setup wrote before: %w", err)
	}
	if !u.did("write %s", path) {
		u.Say("%s", indent(text))
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

func (u *Setup) remove(path string) (changed bool, err error) {
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

func (u *Setup) grant(g grant) error {
	list, err := acl.Of(g.path)
	if err != nil {
		return err
	}
	if list.User(u.Who.uid)&g.rights == g.rights {
		return nil
	}
	if !u.did("let %s %s %s", u.Who.name, g.rights.Words(), g.path) {
		return nil
	}
	err = list.Grant(u.Who.uid, g.rights).Set(g.path)
	if errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("the file system of %s has no access control lists; let the group %s %s it by its mode, "+
			"and make %s a member of that group", g.path, u.Who.name, g.rights.Words(), u.Who.name)
	}
	return err
}

func (u *Setup) revoke(g grant) error {
	list, err := acl.Of(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if list.User(u.Who.uid) == 0 || !u.did("let %s no longer %s %s", u.Who.name, g.rights.Words(), g.path) {
		return nil
	}
	return list.Revoke(u.Who.uid).Set(g.path)
}

// giveBack gives a file that the agent has replaced, and so owns, to its earlier owner.
func (u *Setup) giveBack(o ownership) error {
	uid, _, err := ownerOf(o.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && uid != u.Who.uid {
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
