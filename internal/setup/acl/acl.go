package acl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Rights are those of rwx, by their bits.
type Rights uint16

// The rights: to pass through a folder or to run a file, to write, to read.
const (
	Enter Rights = 1
	Write Rights = 2
	Read  Rights = 4
)

const rwx = "rwx"

func (r Rights) String() string {
	b := []byte("---")
	for i := range rwx {
		if r&(Read>>i) != 0 {
			b[i] = rwx[i]
		}
	}
	return string(b)
}

// Parse reads rights as String writes them; what is no letter of rwx at its place is no right.
func Parse(s string) Rights {
	var r Rights
	for i := range min(len(s), len(rwx)) {
		if s[i] == rwx[i] {
			r |= Read >> i
		}
	}
	return r
}

// Words say what the rights are for.
func (r Rights) Words() string {
	switch r {
	case Read | Write | Enter:
		return "write in"
	case Enter:
		return "pass through"
	case Read:
		return "read"
	default:
		return "have " + r.String() + " on"
	}
}

// The tags of an entry (acl(5), linux/posix_acl.h).
const (
	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20
	nobody      = ^uint32(0)
)

const (
	attribute = "system.posix_acl_access"
	version   = 2
)

// Entry is what one class of users has; id is of a user or a group that has a name in the list.
type Entry struct {
	tag    uint16
	rights Rights
	id     uint32
}

// List is a file's access control list; with three entries it is just its mode.
type List []Entry

// Of reads a file's list, or makes it from the mode where there is none.
func Of(path string) (List, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	value := make([]byte, 4096)
	n, err := unix.Getxattr(path, attribute, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		perm := info.Mode().Perm()
		class := func(shift int) Rights { return Rights(perm >> shift & 7) }
		return List{{tagUserObj, class(6), nobody}, {tagGroupObj, class(3), nobody}, {tagOther, class(0), nobody}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the access control list of %s: %w", path, err)
	}
	list, ok := decode(value[:n])
	if !ok {
		return nil, fmt.Errorf("read the access control list of %s: its format is not known", path)
	}
	return list, nil
}

// decode reads the value of the attribute: a version of 4 bytes, and 8 for each entry.
func decode(value []byte) (List, bool) {
	if len(value) < 4 || len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != version {
		return nil, false
	}
	var list List
	for e := value[4:]; len(e) > 0; e = e[8:] {
		list = append(list, Entry{
			binary.LittleEndian.Uint16(e), Rights(binary.LittleEndian.Uint16(e[2:])),
			binary.LittleEndian.Uint32(e[4:]),
		})
	}
	return list, true
}

func (a List) encode() []byte {
	value := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range a {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, uint16(e.rights))
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value
}

func (a List) find(tag uint16, id uint32) int {
	return slices.IndexFunc(a, func(e Entry) bool {
		return e.tag == tag &&
			(e.id == id || tag != tagUser && tag != tagGroup)
	})
}

// mask is what named entries and the group have at most.
func (a List) mask() Rights {
	if i := a.find(tagMask, 0); i >= 0 {
		return a[i].rights
	}
	return Read | Write | Enter
}

// User is what the list gives to one user by name.
func (a List) User(uid uint32) Rights {
	if i := a.find(tagUser, uid); i >= 0 {
		return a[i].rights & a.mask()
	}
	return 0
}

// Allows is what a user with these groups has without an entry of its own.
func (a List) Allows(owner, group, uid uint32, gids ...uint32) Rights {
	var r Rights
	member := false
	for _, e := range a {
		switch {
		case e.tag == tagUserObj && owner == uid:
			return e.rights
		case e.tag == tagGroupObj && slices.Contains(gids, group), e.tag == tagGroup && slices.Contains(gids, e.id):
			member = true
			r |= e.rights & a.mask()
		case e.tag == tagOther && !member:
			return e.rights
		}
	}
	return r
}

// Grant returns the list with rights for one more user.
func (a List) Grant(uid uint32, r Rights) List {
	out := slices.Clone(a)
	if i := out.find(tagUser, uid); i >= 0 {
		out[i].rights |= r
	} else {
		out = append(out, Entry{tagUser, r, uid})
	}
	if i := out.find(tagMask, 0); i >= 0 {
		out[i].rights |= r
	} else {
		out = append(out, Entry{tagMask, r | out[out.find(tagGroupObj, 0)].rights, nobody})
	}
	slices.SortStableFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag),
			cmp.Compare(a.id, b.id))
	})
	return out
}

// Revoke returns the list without a user's entry, and without a mask that nothing needs any more.
func (a List) Revoke(uid uint32) List {
	out := slices.DeleteFunc(slices.Clone(a), func(e Entry) bool { return e.tag == tagUser && e.id == uid })
	if !slices.ContainsFunc(out, func(e Entry) bool { return e.tag == tagUser || e.tag == tagGroup }) {
		out = slices.DeleteFunc(out, func(e Entry) bool { return e.tag == tagMask })
	}
	return out
}

// Set gives a file the list. One that is just a mode leaves no list behind:
// the kernel takes it for the mode.
func (a List) Set(path string) error {
	if err := unix.Setxattr(path, attribute, a.encode(), 0); err != nil {
		return fmt.Errorf("write the access control list of %s: %w", path, err)
	}
	return nil
}
