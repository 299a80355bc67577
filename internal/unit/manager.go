package unit

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const reloadTimeout = 90 * time.Second // as systemctl waits for an answer

// Booted is true if systemd runs this machine, as sd_booted(3) looks.
func Booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// Manager is the service manager of the system, as root deals with it.
type Manager struct{ conn *dbus.Conn }

// NewManager connects to systemd. The caller must Close it.
func NewManager(ctx context.Context) (*Manager, error) {
	conn, err := dialSystem(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd over D-Bus: %w; is the system bus (dbus.service) there?", err)
	}
	return &Manager{conn}, nil
}

// Close ends the connection.
func (m *Manager) Close() { _ = m.conn.Close() } // nothing is under way

func (m *Manager) object() dbus.BusObject {
	return m.conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
}

// Version is systemd's, such as 252.
func (m *Manager) Version() (int, error) {
	v, err := m.object().GetProperty("org.freedesktop.systemd1.Manager.Version")
	if err != nil {
		return 0, fmt.Errorf("ask systemd for its version: %w", err)
	}
	return parseVersion(text(v.Value()))
}

// parseVersion reads 252 (252.39-1~deb12u2) as well as 257.8-1~deb13u2 and v257.
func parseVersion(s string) (int, error) {
	digits := strings.TrimPrefix(s, "v")
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("systemd's version %q does not begin with a number", s)
	}
	return n, nil
}

// Reload has systemd read all unit files again, as `systemctl daemon-reload` does.
func (m *Manager) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := m.object().CallWithContext(ctx, "org.freedesktop.systemd1.Manager.Reload", 0).Err; err != nil {
		return fmt.Errorf("have systemd read its units again: %w; type: systemctl daemon-reload", err)
	}
	return nil
}

// Names are all names of a unit, systemd's own first: polkit knows no other one. A unit that is
// not there has the one name that it was asked for by.
func (m *Manager) Names(ctx context.Context, unit string) ([]string, error) {
	all, err := m.unit(ctx, unit, "org.freedesktop.systemd1.Unit")
	if err != nil {
		return nil, fmt.Errorf("ask systemd for the names of %s: %w; see `systemctl status %s`", unit, err, unit)
	}
	names, _ := all["Names"].Value().([]string)
	return ownFirst(text(all["Id"].Value()), append(names, unit)), nil
}

// ownFirst puts a unit's own name before its others, each once, in an order that does not change.
func ownFirst(id string, names []string) []string {
	if id != "" {
		names = append(names, id)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	slices.SortStableFunc(names, func(a, b string) int {
		switch id {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return names
}

// unit asks for all properties of a unit in one interface.
func (m *Manager) unit(ctx context.Context, name, iface string) (map[string]dbus.Variant, error) {
	var path dbus.ObjectPath
	if err := m.object().
		CallWithContext(ctx, "org.freedesktop.systemd1.Manager.LoadUnit", 0, name).
		Store(&path); err != nil {
		return nil, err
	}
	all := map[string]dbus.Variant{}
	err := m.conn.Object("org.freedesktop.systemd1", path).
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, iface).
		Store(&all)
	return all, err
}

// Account is whom a service runs as, by names or numbers as its unit has them.
type Account struct {
	User, Group string   // empty is root, and the user's own group
	Groups      []string // SupplementaryGroups=
}

// Account asks whom a service runs as; a service that is not there as nobody in particular.
func (m *Manager) Account(ctx context.Context, service string) (Account, error) {
	all, err := m.unit(ctx, service, "org.freedesktop.systemd1.Service")
	if err != nil {
		return Account{}, fmt.Errorf("ask systemd whom %s runs as: %w; see `systemctl status %s`", service, err,
			service)
	}
	groups, _ := all["SupplementaryGroups"].Value().([]string)
	return Account{text(all["User"].Value()), text(all["Group"].Value()), groups}, nil
}
