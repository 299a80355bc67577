package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// rights are those of rwx, by their bits.
type rights uint16

const (
	enter rights = 1
	write rights = 2
	read  rights = 4
)

const rwx = "rwx"

func (r rights) String() string {
	b := []byte("---")
	for i := range rwx {
		if r&(read>>i) != 0 {
			b[i] = rwx[i]
		}
	}
	return string(b)
}

func parseRights(s string) rights {
	var r rights
	for i := range min(len(s), len(rwx)) {
		if s[i] == rwx[i] {
			r |= read >> i
		}
	}
	return r
}

// words say what the rights are for.
func (r rights) words() string {
	switch r {
	case read | write | enter:
		return "write in"
	case enter:
		return "pass through"
	case read:
		return "read"
	default:
		return "have " + r.String() + " on"
	}
}

// The tags of an entry (acl(5), linux/posix_acl.h).
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
	aclNobody   = ^uint32(0)
)

const (
	aclName    = "system.posix_acl_access"
	aclVersion = 2
)

type aclEntry struct {
	tag    uint16
	rights rights
	id     uint32
}

// acl is a file's access control list; with three entries it is just its mode.
type acl []aclEntry

// readACL reads a file's list, or makes it from the mode where there is none.
func readACL(path string) (acl, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	value := make([]byte, 4096)
	n, err := unix.Getxattr(path, aclName, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		perm := info.Mode().Perm()
		class := func(shift int) rights { return rights(perm >> shift & 7) }
		return acl{{aclUserObj, class(6), aclNobody}, {aclGroupObj, class(3), aclNobody}, {aclOther, class(0), aclNobody}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the access control list of %s: %w", path, err)
	}
	value = value[:n]
	if len(value) < 4 || len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != aclVersion {
		return nil, fmt.Errorf("read the access control list of %s: its format is not known", path)
	}
	var list acl
	for e := value[4:]; len(e) > 0; e = e[8:] {
		list = append(list, aclEntry{binary.LittleEndian.Uint16(e), rights(binary.LittleEndian.Uint16(e[2:])), binary.LittleEndian.Uint32(e[4:])})
	}
	return list, nil
}

func (a acl) find(tag uint16, id uint32) int {
	return slices.IndexFunc(a, func(e aclEntry) bool { return e.tag == tag && (e.id == id || tag != aclUser && tag != aclGroup) })
}

// mask is what named entries and the group have at most.
func (a acl) mask() rights {
	if i := a.find(aclMask, 0); i >= 0 {
		return a[i].rights
	}
	return read | write | enter
}

// user is what the list gives to one user by name.
func (a acl) user(uid uint32) rights {
	if i := a.find(aclUser, uid); i >= 0 {
		return a[i].rights & a.mask()
	}
	return 0
}

// allows is what a user with these groups has without an entry of its own.
func (a acl) allows(owner, group, uid uint32, gids ...uint32) rights {
	var r rights
	member := false
	for _, e := range a {
		switch {
		case e.tag == aclUserObj && owner == uid:
			return e.rights
		case e.tag == aclGroupObj && slices.Contains(gids, group), e.tag == aclGroup && slices.Contains(gids, e.id):
			member = true
			r |= e.rights & a.mask()
		case e.tag == aclOther && !member:
			return e.rights
		}
	}
	return r
}

// grant returns the list with rights for one more user.
func (a acl) grant(uid uint32, r rights) acl {
	out := slices.Clone(a)
	if i := out.find(aclUser, uid); i >= 0 {
		out[i].rights |= r
	} else {
		out = append(out, aclEntry{aclUser, r, uid})
	}
	if i := out.find(aclMask, 0); i >= 0 {
		out[i].rights |= r
	} else {
		out = append(out, aclEntry{aclMask, r | out[out.find(aclGroupObj, 0)].rights, aclNobody})
	}
	slices.SortStableFunc(out, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	return out
}

// revoke returns the list without a user's entry, and without a mask that nothing needs any more.
func (a acl) revoke(uid uint32) acl {
	out := slices.DeleteFunc(slices.Clone(a), func(e aclEntry) bool { return e.tag == aclUser && e.id == uid })
	if !slices.ContainsFunc(out, func(e aclEntry) bool { return e.tag == aclUser || e.tag == aclGroup }) {
		out = slices.DeleteFunc(out, func(e aclEntry) bool { return e.tag == aclMask })
	}
	return out
}

// write gives a file the list. One that is just a mode leaves no list behind:
// the kernel takes it for the mode.
func (a acl) write(path string) error {
	value := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range a {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, uint16(e.rights))
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	if err := unix.Setxattr(path, aclName, value, 0); err != nil {
		return fmt.Errorf("write the access control list of %s: %w", path, err)
	}
	return nil
}
