package acl

import (
	"os"
	"slices"
	"testing"
)

// TestACL proves the lists by the kernel's own judgement of what is written.
func TestACL(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	list, err := Of(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || list.User(7) != 0 || list.mask() != 7 {
		t.Fatalf("a mode is %v", list)
	}
	for _, uid := range []uint32{9, 7, 8} { // in no order
		if err := list.Grant(uid, Read|Write|Enter).Set(dir); err != nil {
			t.Fatal(err)
		}
		if list, err = Of(dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) != 7 || list.User(7) != 7 || list.User(10) != 0 {
		t.Errorf("the list is %v", list)
	}
	if got := mode(t, dir); got != 0o770 { // the mask
		t.Errorf("mode %o", got)
	}
	for _, uid := range []uint32{7, 8, 9} {
		if err := list.Revoke(uid).Set(dir); err != nil {
			t.Fatal(err)
		}
		if list, err = Of(dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) != 3 || mode(t, dir) != 0o750 {
		t.Errorf("afterwards: %v, mode %o", list, mode(t, dir))
	}
}

// TestCodec: what is written is read back, and a value that no kernel writes is no list.
func TestCodec(t *testing.T) {
	list := List{{tagUserObj, 6, nobody}, {tagUser, 5, 4242}, {tagGroupObj, 4, nobody}, {tagMask, 5, nobody}, {tagOther, 0, nobody}}
	value := list.encode()
	// linux/posix_acl_xattr.h: little endian, version 2, then tag, rights and id of each entry.
	want := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\x92\x10\x00\x00"
	if string(value[:len(want)]) != want {
		t.Errorf("written as %q, want %q", value, want)
	}
	if got, ok := decode(value); !ok || !slices.Equal(got, list) {
		t.Errorf("read back: %v, %v", got, ok)
	}
	for _, bad := range [][]byte{nil, value[:3], value[:len(value)-1], append([]byte{1}, value[1:]...)} {
		if got, ok := decode(bad); ok {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestACLAllows(t *testing.T) {
	const root, kafka, agent = 0, 994, 996
	list := List{
		{tagUserObj, 6, nobody}, {tagUser, 7, 7}, {tagGroupObj, 4, nobody}, {tagGroup, 3, 50}, {tagMask, 6, nobody}, {tagOther, 1, nobody},
	}
	for _, c := range []struct {
		owner, group uint32
		gids         []uint32
		want         Rights
	}{
		{agent, kafka, []uint32{agent}, 6},
		{root, kafka, []uint32{agent, kafka}, 4},
		{root, kafka, []uint32{agent, 50}, 2},
		{root, kafka, []uint32{agent, 50, kafka}, 6},
		{root, kafka, []uint32{agent}, 1},
	} {
		if got := list.Allows(c.owner, c.group, agent, c.gids...); got != c.want {
			t.Errorf("owner %d, groups %v: %s, want %s", c.owner, c.gids, got, c.want)
		}
	}
	for _, r := range []Rights{0, Enter, Read, Read | Write, Read | Write | Enter} {
		if got := Parse(r.String()); got != r {
			t.Errorf("%s is read as %s", r, got)
		}
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
