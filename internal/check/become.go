package check

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"syscall"

	"example.com/kpls-agent/internal/unit"
)

// Become gives this process, which is root's, the user and the groups of a service,
// so that it may what the service may. Its group of server.properties is no group of
// its user: only the unit has it. Nothing is done for a service that is not there.
func Become(ctx context.Context, service string) error {
	if !unit.Booted() {
		return nil
	}
	m, err := unit.NewManager(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	a, err := m.Account(ctx, service)
	if err != nil || a.User == "" {
		return err
	}
	uid, gid, groups, err := identify(a)
	if err != nil {
		return fmt.Errorf("check as the user of %s: %w; see `systemctl cat %s`", service, err, service)
	}
	// The user last: only root may choose groups.
	if err := errors.Join(syscall.Setgroups(groups), syscall.Setresgid(gid, gid, gid),
		syscall.Setresuid(uid, uid, uid)); err != nil {
		return fmt.Errorf("check as the user of %s: %w; root lacks the capabilities to (CAP_SETUID, CAP_SETGID): "+
			"run this where it has them", service, err)
	}
	return nil
}

// identify looks the user and the groups of a service up.
func identify(a unit.Account) (uid, gid int, groups []int, err error) {
	u, err := user.Lookup(a.User)
	if err != nil {
		if u, err = user.LookupId(a.User); err != nil {
			return 0, 0, nil, err
		}
	}
	names, err := u.GroupIds()
	if err != nil {
		return 0, 0, nil, err
	}
	if a.Group == "" {
		a.Group = u.Gid
	}
	for _, name := range append(append(names, a.Groups...), a.Group) {
		id := name
		if g, err := user.LookupGroup(name); err == nil {
			id = g.Gid
		}
		if gid, err = strconv.Atoi(id); err != nil {
			return 0, 0, nil, fmt.Errorf("there is no group %s", name)
		}
		groups = append(groups, gid)
	}
	uid, err = strconv.Atoi(u.Uid)
	return uid, gid, groups, err // the last group is its own
}
