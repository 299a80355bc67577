package unit

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// The answers are those of systemd 252.39 and 257.13 with polkit 122 and 126, which agree: a unit
// that is masked, gone or bad, or needs one that is, gets InvalidArgs in mode isolate, and is refused
// in mode replace.
func TestMayRestart(t *testing.T) {
	may := dbus.Error{Name: "org.freedesktop.DBus.Error.InvalidArgs", Body: []any{"Isolate is only valid for start."}}
	other := map[dbus.ObjectPath]string{objectPath("data.mount"): "not-found", objectPath("zk.service"): "masked", objectPath("ok.target"): "loaded"}
	for _, c := range []struct {
		name   string
		answer dbus.Error
		props  map[string]any
		want   string
	}{
		{"permitted", may, map[string]any{"LoadState": "loaded", "CanStart": true}, ""},
		{"permitted, by another name of the same", dbus.Error{Name: "org.freedesktop.systemd1.NoIsolation", Body: []any{"x"}}, map[string]any{"LoadState": "loaded"}, ""},
		{
			"not permitted",
			dbus.Error{Name: "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", Body: []any{"Interactive authentication required."}},
			nil,
			"restart kafka.service: not permitted (Interactive authentication required.); run `kpls-agent setup` as root",
		},
		{"denied", dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied", Body: []any{"Access denied"}}, nil, "restart kafka.service: not permitted (Access denied); run"},
		{
			"not there",
			dbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit", Body: []any{"Unit kafka.service not found."}},
			nil,
			"restart kafka.service: Unit kafka.service not found.; name the broker's unit",
		},
		{"polkit gave systemd no answer", dbus.Error{Name: "org.freedesktop.DBus.Error.NoReply", Body: []any{"Method call timed out"}}, nil, "restart kafka.service: polkit does not answer"},
		{"masked while it runs", may, map[string]any{"LoadState": "masked", "CanStart": false}, "restart kafka.service: systemd would refuse it, since its unit file is masked"},
		{"its file is gone", may, map[string]any{"LoadState": "not-found"}, "restart kafka.service: systemd would refuse it, since its unit file is not-found"},
		{"cannot be started", may, map[string]any{"LoadState": "loaded", "CanStart": false}, "restart kafka.service: systemd cannot start it"},
		{
			"needs a mount that is gone", may,
			map[string]any{"LoadState": "loaded", "CanStart": true, "Requires": []string{"ok.target", "data.mount"}},
			"restart kafka.service: systemd would refuse it, since its Requires=data.mount is not-found",
		},
		{
			"is bound to a unit that is masked", may,
			map[string]any{"LoadState": "loaded", "CanStart": true, "BindsTo": []string{"zk.service"}},
			"restart kafka.service: systemd would refuse it, since its BindsTo=zk.service is masked",
		},
		{"needs units that are all there", may, map[string]any{"LoadState": "loaded", "CanStart": true, "Requires": []string{"ok.target"}}, ""},
	} {
		p := newPeer(t)
		s, _ := newSystemd(t, p)
		p.isolate, p.loadStates = &c.answer, other
		p.set(c.props)
		err := s.MayRestart(t.Context())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// A polkit that hangs is named; a caller that gives up is told so, and nobody is blamed for it.
func TestMayRestartGivesUp(t *testing.T) {
	t.Parallel()
	p := newPeer(t) // which never answers
	s, _ := newSystemd(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.connection(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.MayRestart(ctx); err == nil || !strings.Contains(err.Error(), "systemctl status polkit") {
		t.Errorf("nobody answers: %v", err)
	}
	cancel()
	if err := s.MayRestart(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
