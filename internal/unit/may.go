package unit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// mayPatience bounds the question for the right to restart. Systemd itself waits 25 s for polkit.
const mayPatience = 5 * time.Second

// MayRestart returns nil if systemd, and polkit behind it, would let this
// process restart the unit. It asks systemd itself for a restart, in the mode
// "isolate": the right to restart is checked first, and then the mode is refused,
// since only a start, of a unit with AllowIsolate=, can isolate (systemd's
// manager_add_job). Polkit cannot be asked instead: only root may tell it which
// unit the question is about. The mode is refused before the unit's job is made, so
// what would refuse the job is checked, too. A job of a shutdown, and an ordering
// cycle, cannot be seen beforehand.
func (s *Systemd) MayRestart(ctx context.Context) error {
	b, err := s.connection(ctx)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, mayPatience)
	defer cancel()
	_, err = b.RestartUnitContext(asking, s.o.Unit, "isolate", nil)
	e, answered := errors.AsType[dbus.Error](err)
	switch {
	case err == nil:
		return fmt.Errorf(
			"ask for the right to restart %s: systemd took a question for an order; see `systemctl status %s`, "+
				"and report this with `systemctl --version`",
			s.o.Unit,
			s.o.Unit,
		)
	case answered && (e.Name == "org.freedesktop.DBus.Error.InvalidArgs" ||
		e.Name == "org.freedesktop.systemd1.NoIsolation"):
		return s.startable(ctx)
	case asking.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("ask for the right to restart %s: no answer within %s; see `systemctl status polkit`",
			s.o.Unit, mayPatience)
	default:
		return s.refusal(err)
	}
}

// LoadState is systemd's word for whether a unit can be had: loaded, masked, not-found, bad-setting, error.
func (s *Systemd) LoadState(ctx context.Context, unit string) (string, error) {
	b, err := s.connection(ctx)
	if err != nil {
		return "", err
	}
	state, err := b.GetUnitPropertyContext(ctx, unit, "LoadState")
	if err != nil {
		return "", fmt.Errorf("ask systemd about %s: %w", unit, err)
	}
	return text(state.Value.Value()), nil
}

// startable returns what would keep systemd from making a start job of the unit, or nil: the unit
// itself, or one that it cannot start without (systemd's transaction_add_job_and_dependencies).
func (s *Systemd) startable(ctx context.Context) error {
	props, err := s.properties(ctx)
	if err != nil {
		return err
	}
	if err := loads(s.o.Unit, "", text(props["LoadState"])); err != nil {
		return err
	}
	if can, known := props["CanStart"].(bool); known && !can {
		return fmt.Errorf("restart %s: systemd cannot start it; see `systemctl status %s`", s.o.Unit, s.o.Unit)
	}
	for _, kind := range []string{"Requires", "Requisite", "BindsTo"} {
		names, _ := props[kind].([]string)
		for _, name := range names {
			state, err := s.LoadState(ctx, name)
			if err != nil {
				return fmt.Errorf("restart %s: its %s=: %w", s.o.Unit, kind, err)
			}
			if err := loads(s.o.Unit, fmt.Sprintf("its %s=%s", kind, name), state); err != nil {
				return err
			}
		}
	}
	return nil
}

// loads judges the LoadState of the unit, or of another one that it needs.
func loads(unit, other, state string) error {
	if state == "" || state == "loaded" || state == "merged" {
		return nil
	}
	what := other
	if what == "" {
		what = "its unit file"
	}
	return fmt.Errorf(
		"restart %s: systemd would refuse it, since %s is %s; see `systemctl status %s`, and correct it before the broker is to be started again",
		unit, what, state, unit)
}
