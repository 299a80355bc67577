package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// ServiceUser is the user of the package's service.
const ServiceUser = "kpls-agent"

// Denied adds to an error about a right of a file what to do about it: that depends on who asks.
func Denied(err error) error {
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	uid := os.Geteuid()
	service, none := user.Lookup(ServiceUser)
	return denied(err, uid, none == nil && service.Uid == strconv.Itoa(uid))
}

func denied(err error, uid int, service bool) error {
	switch {
	case service:
		return fmt.Errorf("%w; type `sudo kpls-agent setup`: it gives the service, which runs as %s, its rights, and "+
			"says what it cannot give", err, ServiceUser)
	case uid == 0:
		return fmt.Errorf("%w; not even root may: see `lsattr` and the options of the mount (`findmnt`)", err)
	default:
		return fmt.Errorf("%w; run this with sudo, or give user %s the right", err, nameOf(uid))
	}
}

// nameOf is a user's name, or the number of one that has none.
func nameOf(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
