package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// TestDenied: what to do depends on who asks, and only a right that lacks has such an advice.
func TestDenied(t *testing.T) {
	err := fmt.Errorf("open /etc/x: %w", fs.ErrPermission)
	for _, c := range []struct {
		uid     int
		service bool
		want    string
	}{
		{998, true, "open /etc/x: permission denied; type `sudo kpls-agent setup`: it gives the service, which runs as kpls-agent, its rights, and says what it cannot give"},
		{0, false, "open /etc/x: permission denied; not even root may: see `lsattr` and the options of the mount (`findmnt`)"},
		{4294967, false, "open /etc/x: permission denied; run this with sudo, or give user 4294967 the right"},
	} {
		got := denied(err, c.uid, c.service)
		if got.Error() != c.want || !errors.Is(got, fs.ErrPermission) {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if other := fmt.Errorf("open /etc/x: %w", fs.ErrNotExist); !errors.Is(Denied(other), other) || Denied(other).Error() != other.Error() || Denied(nil) != nil {
		t.Error("another error is changed")
	}
}
