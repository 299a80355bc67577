package check

import (
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/unit"
)

// What check does with it needs root and a systemd: the system test shows that.
func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		account  unit.Account
		uid, gid int
		groups   []int // some of them
		says     string
	}{
		{unit.Account{User: "root"}, 0, 0, []int{0}, ""},
		{unit.Account{User: "0", Group: "0"}, 0, 0, []int{0}, ""},
		{unit.Account{User: "root", Group: "daemon", Groups: []string{"sys"}}, 0, 1, []int{0, 1, 3}, ""},
		{unit.Account{User: "root", Groups: []string{"12345"}}, 0, 0, []int{0, 12345}, ""},
		{account: unit.Account{User: "nobody-at-all"}, says: "nobody-at-all"},
		{account: unit.Account{User: "root", Groups: []string{"no-such-group"}}, says: "there is no group no-such-group"},
	} {
		uid, gid, groups, err := identify(c.account)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v: %v", c.account, err)
			}
			continue
		}
		if err != nil || uid != c.uid || gid != c.gid || slices.ContainsFunc(c.groups, func(g int) bool { return !slices.Contains(groups, g) }) {
			t.Errorf("%+v: user %d, group %d, groups %v, %v", c.account, uid, gid, groups, err)
		}
	}
}
