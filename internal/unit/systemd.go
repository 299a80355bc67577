package unit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// SystemdOptions says which unit, and how to speak.
type SystemdOptions struct {
	// Unit is the broker's unit with its suffix, such as "kafka.service".
	Unit   string
	Logger *slog.Logger
	// Broker is what the unit is judged against, asked each time; nil is not to judge it.
	Broker func() Broker
	// Seen is what root has seen of the unit and written down; nil, or a nil answer, is nothing.
	Seen func() *Seen

	dial func(context.Context) (*dbus.Conn, error) // nil is the system bus
	look time.Duration                             // how often a restart looks for its job itself; 0 is jobLook
}

const (
	dialTimeout = 5 * time.Second
	// A lost connection is dialled again after redialMin, then ever later up to redialMax.
	redialMin, redialMax = 100 * time.Millisecond, 10 * time.Second
	// jobLook bounds how late a restart learns of the end of a job that no signal has told. jobLast is how long a
	// signal may come after the job is gone.
	jobLook, jobLast = 5 * time.Second, time.Second
	// orderTimeout bounds the answer to the order itself, for which systemd asks polkit.
	orderTimeout = 90 * time.Second
)

// Systemd sees and restarts one unit of the system's service manager.
type Systemd struct {
	o       SystemdOptions
	changed chan struct{}
	renamed chan struct{}

	mu  sync.Mutex
	bus *bus // nil without a connection; guarded by mu
	// id is systemd's own name of the unit: another one than the operator's where that is an
	// alias, and the one that signals and polkit know. Guarded by mu.
	id string
	// base is NRestarts as it was when this process asked for a restart of a unit
	// that was waiting for an automatic one: some versions of systemd do not set
	// the counter back then. Guarded by mu.
	base int
	// starts tells starts of the broker's process from starts that came to nothing before it. Guarded by mu.
	starts starts

	looking sync.Mutex // one picture at a time
	last    sight      // guarded by looking
}

// sight is what was made of the last picture.
type sight struct {
	at      time.Time
	up      bool // whether the unit was up
	hazard  string
	outside string // the broker's process that does not belong to the unit
	line    CommandLine
}

// CommandLine is what the broker's command line makes of server.properties.
type CommandLine struct {
	// Deaf is why a change of the file has no effect, by the process that runs: it was started with
	// another file, or with an --override of what the agent writes. Empty where it has, and where that
	// is not known.
	Deaf string
	// Overrides are the properties that the next start takes from --override instead of from the file;
	// nil where that cannot be seen. See Picture.Overrides.
	Overrides map[string]string
}

// bus is one connection to systemd. Signals of any kind arrive on signals.
type bus struct {
	*sd.Conn
	signals *dbus.Conn
}

// NewSystemd returns a Systemd that has not connected yet.
func NewSystemd(o SystemdOptions) *Systemd {
	if o.dial == nil {
		o.dial = dialSystem
	}
	if o.look == 0 {
		o.look = jobLook
	}
	return &Systemd{
		o: o, changed: make(chan struct{}, 1), renamed: make(chan struct{}, 1), id: o.Unit,
	}
}

// objectPath is where systemd has a unit on the bus.
func objectPath(unit string) dbus.ObjectPath {
	return dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + sd.PathBusEscape(unit))
}

// Changed is signalled when systemd says that the unit changed, and when a
// connection was made, since what happened before is not known then.
func (s *Systemd) Changed() <-chan struct{} { return s.changed }

// State asks systemd for the unit as it is now.
func (s *Systemd) State(ctx context.Context) restart.UnitFacts {
	now := time.Now()
	props, err := s.properties(ctx)
	if err != nil {
		return restart.UnitFacts{At: now, State: restart.UnitUnknown, Detail: err.Error()}
	}
	f := facts(s.o.Unit, props)
	f.At = now
	seen := s.sight(ctx, props, pictureAge)
	f.Hazard = seen.hazard
	if down := f.State == restart.UnitStopped ||
		f.State == restart.UnitFailed; seen.outside != "" && down &&
		!f.Queued {
		f.State, f.Detail = restart.UnitUnknown, seen.outside
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Restarts < s.base {
		s.base = 0
	}
	f.Restarts -= s.base
	f.StartFailures = min(s.starts.failures, f.Restarts)
	return f
}

// sight judges the unit again where the last judgement is older than age, or shorter while the unit is down.
func (s *Systemd) sight(ctx context.Context, props map[string]any, age time.Duration) sight {
	if s.o.Broker == nil || text(props["LoadState"]) == "not-found" {
		return sight{}
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	up := Picture{State: text(props["ActiveState"])}.up()
	if !up {
		age = min(age, pictureAgeDown)
	}
	if !s.last.at.IsZero() && s.last.up == up && time.Since(s.last.at) < age {
		return s.last
	}
	p, b := s.picture(ctx, props), s.o.Broker()
	s.last = sight{at: time.Now(), up: up, line: CommandLine{Overrides: p.Overrides(b)}}
	runs := slices.ContainsFunc(p.Processes, func(o Process) bool { return p.own(o, b) })
	for _, v := range p.Judge(b) {
		switch {
		case v.Level == Hazard:
			s.last.hazard = joined(s.last.hazard, v.Text)
		case v.Level == Fault && v.What == WhatCommand && runs: // not by what the unit might start
			s.last.line.Deaf = joined(s.last.line.Deaf, v.Text)
		}
	}
	if o, found := p.outside(b); found && !queued(props) {
		s.last.outside = p.startedOutside(o)
	}
	return s.last
}

func joined(texts, more string) string {
	if texts == "" {
		return more
	}
	return texts + "; " + more
}

// CommandLine judges the broker's command line; it is empty where systemd does not answer, which State says.
func (s *Systemd) CommandLine(ctx context.Context) CommandLine {
	props, err := s.properties(ctx)
	if err != nil {
		return CommandLine{}
	}
	return s.sight(ctx, props, pictureAge).line
}

// note keeps what systemd said of the unit, as far as later answers do not repeat it.
func (s *Systemd) note(p map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts.see(p)
	if id := text(p["Id"]); id != "" && id != s.id {
		s.id = id
		wait.Wake(s.renamed) // an alias came or went
	}
}

// ID is systemd's own name of the unit, as far as it is known by now; otherwise the name in the settings.
func (s *Systemd) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *Systemd) properties(ctx context.Context) (map[string]any, error) {
	b, err := s.connection(ctx)
	if err != nil {
		return nil, err
	}
	// All interfaces in one answer: its parts belong to the same instant.
	props, err := b.GetAllPropertiesContext(ctx, s.o.Unit)
	if err != nil {
		return nil, fmt.Errorf("ask systemd about %s: %w", s.o.Unit, err)
	}
	s.note(props)
	return props, nil
}

// Restart asks systemd to restart the unit and waits until the job has ended.
// After an error nobody knows whether the unit was restarted, except where
// it says that it was not permitted.
func (s *Systemd) Restart(ctx context.Context) error {
	b, err := s.connection(ctx)
	if err != nil {
		return err
	}
	props, err := s.properties(ctx)
	if err != nil {
		return err
	}
	// However young the last observation is: another process may have come since.
	if hazard := s.sight(ctx, props, 0).hazard; hazard != "" {
		return fmt.Errorf("%s is not restarted: %s", s.o.Unit, hazard)
	}
	before := s.remember(props)
	result := make(chan string, 1) // buffered: an unread result would block the connection
	order, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	if _, err := b.RestartUnitContext(order, s.o.Unit, "replace", result); err != nil {
		return s.refusal(err)
	}
	r, err := s.outcome(ctx, b, s.o.Unit, result)
	if err != nil {
		return fmt.Errorf("restart %s: %w", s.o.Unit, err)
	}
	up := r != "done" && s.comesUp(ctx, before)
	switch {
	case r == "done", r == unheard && up:
		return nil
	case r == unheard:
		return fmt.Errorf("restart %s: systemd did not tell how the job ended, and no new process has come; see `journalctl -u %s`",
			s.o.Unit, s.o.Unit)
	}
	err = fmt.Errorf("restart %s: systemd ended the job with %q; see `journalctl -u %s`", s.o.Unit, r, s.o.Unit)
	if !up {
		return err
	}
	s.o.Logger.Warn("the job failed, and systemd goes on with the unit by itself", "unit", s.o.Unit, "err", err)
	return nil
}

// RunOnce starts a unit of Type=oneshot and waits until it has ended. An error says that it did not run, or failed.
func (s *Systemd) RunOnce(ctx context.Context, unit string) error {
	b, err := s.connection(ctx)
	if err != nil {
		return err
	}
	result := make(chan string, 1) // buffered: an unread result would block the connection
	if _, err := b.StartUnitContext(ctx, unit, "replace", result); err != nil {
		if e, ok := errors.AsType[dbus.Error](err); ok && slices.Contains(notPermitted, e.Name) {
			return fmt.Errorf("start %s: not permitted (%w); run `kpls-agent setup` as root", unit, err)
		}
		return fmt.Errorf("start %s: %w", unit, err)
	}
	r, err := s.outcome(ctx, b, unit, result)
	switch {
	case err != nil:
		return fmt.Errorf("start %s: %w", unit, err)
	case r != "done" && r != unheard: // of one that was not heard, what it has left says how it went
		return fmt.Errorf("start %s: systemd ended the job with %q; see `journalctl -u %s`", unit, r, unit)
	}
	return nil
}

// unheard stands for the result of a job whose end was not told.
const unheard = ""

// outcome waits for the end of a unit's job. The signal of it may never come: on a machine with systemd 252 that was
// frozen for a minute right after the order it was not heard within four minutes, though the connection lasted. Why is
// not known, so the job itself is looked for, too.
func (s *Systemd) outcome(ctx context.Context, b *bus, unit string, result <-chan string) (string, error) {
	tick := time.NewTicker(s.o.look)
	defer tick.Stop()
	for {
		select {
		case r := <-result:
			return r, nil
		case <-tick.C:
			if !jobless(ctx, b, unit) {
				continue
			}
			select { // it may be on its way
			case r := <-result:
				return r, nil
			case <-time.After(jobLast):
				s.o.Logger.Warn("systemd did not tell that a job has ended", "unit", unit)
				return unheard, nil
			}
		case <-b.signals.Context().Done():
			return "", errors.New("the connection to systemd was lost while it worked on it")
		case <-ctx.Done():
			return "", fmt.Errorf("%w while systemd works on it", ctx.Err())
		}
	}
}

// jobless is true if systemd says that the unit has no job.
func jobless(ctx context.Context, b *bus, unit string) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	props, err := b.GetAllPropertiesContext(ctx, unit)
	return err == nil && !queued(props)
}

// comesUp is true if another start of the unit than before is under way, or was made: a failed
// ExecStartPre= ends the job, and systemd goes on with Restart= (systemd 252 and 257). An error of
// the job is then no proof that the broker is down.
func (s *Systemd) comesUp(ctx context.Context, before string) bool {
	f := s.State(ctx)
	return f.Invocation != before && (f.State == restart.UnitStarting || f.State == restart.UnitRunning || f.Queued)
}

// remember keeps the count of automatic restarts where the next start will not set it back.
// It returns the start that is to end.
func (s *Systemd) remember(props map[string]any) string {
	base := 0
	if number(props["NRestarts"]) > 0 && waitsForRestart(text(props["SubState"])) {
		base = number(props["NRestarts"])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = base
	s.starts.failures = 0
	return invocation(props)
}

// notPermitted are systemd's errors for an order that polkit has not allowed.
var notPermitted = []string{
	"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "org.freedesktop.DBus.Error.AccessDenied",
}

func (s *Systemd) refusal(err error) error {
	if e, ok := errors.AsType[dbus.Error](err); ok {
		if slices.Contains(notPermitted, e.Name) {
			return fmt.Errorf(
				"restart %s: not permitted (%w); run `kpls-agent setup` as root, which permits it to the user of the service (this process runs as user %d), and see that polkit runs",
				s.o.Unit, err, os.Getuid())
		}
		switch e.Name {
		case "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.LoadFailed":
			return fmt.Errorf(
				"restart %s: %w; name the broker's unit in the settings, or `commands` where it is one of a user's own service manager",
				s.o.Unit, err)
		case "org.freedesktop.DBus.Error.NoReply":
			return fmt.Errorf(
				"restart %s: polkit does not answer (%w), and nothing was restarted; see `systemctl status polkit`",
				s.o.Unit, err)
		case "org.freedesktop.systemd1.TransactionIsDestructive":
			return fmt.Errorf(
				"restart %s: %w; a shutdown or another job of systemd is under way, see `systemctl list-jobs`",
				s.o.Unit, err)
		}
	}
	return fmt.Errorf("restart %s: %w", s.o.Unit, err)
}

// Run follows the unit's changes until ctx ends, and connects again whenever the
// connection is lost. It closes the connection at the end and returns nil.
func (s *Systemd) Run(ctx context.Context) error {
	defer s.Close()
	redial, lost := redialMin, false
	for {
		err := s.follow(ctx, func() {
			if lost {
				s.o.Logger.Info("connected to systemd again", "unit", s.o.Unit)
			}
			redial, lost = redialMin, false
		})
		if ctx.Err() != nil {
			return nil
		}
		if !lost {
			s.o.Logger.Warn("no connection to systemd", "unit", s.o.Unit, "err", err)
			lost = true
			wait.Wake(s.changed)
		}
		if !wait.For(ctx, redial) {
			return nil
		}
		redial = min(2*redial, redialMax)
	}
}

// follow subscribes and passes changes on until the connection ends or ctx does.
func (s *Systemd) follow(ctx context.Context, connected func()) error {
	b, err := s.connection(ctx)
	if err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 16)
	b.signals.Signal(signals)
	defer b.signals.RemoveSignal(signals)
	if _, err := s.properties(ctx); err != nil { // for its own name
		return err
	}
	path, err := s.subscribe(ctx, b)
	if err != nil {
		return err
	}
	manager := b.signals.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.Subscribe", 0).Err; err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.o.Unit, err)
	}
	connected()
	wait.Wake(s.changed)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case sig, ok := <-signals:
			if !ok {
				return errors.New("the connection was closed")
			}
			if sig.Path == path {
				// Here and not only when somebody asks: the next start may be a tenth of a second away.
				_, _ = s.properties(ctx) // who asks gets the error, too
				wait.Wake(s.changed)
			}
		case <-s.renamed:
			if path, err = s.subscribe(ctx, b); err != nil {
				return err
			}
			wait.Wake(s.changed)
		}
	}
}

// subscribe asks for this unit's changes only: others must not wake the agent. They come from
// the path of systemd's own name.
func (s *Systemd) subscribe(ctx context.Context, b *bus) (dbus.ObjectPath, error) {
	path := objectPath(s.ID())
	if err := b.signals.AddMatchSignalContext(ctx, dbus.WithMatchObjectPath(path),
		dbus.WithMatchInterface("org.freedesktop.DBus.Properties"),
		dbus.WithMatchMember("PropertiesChanged")); err != nil {
		return "", fmt.Errorf("subscribe to %s: %w", s.o.Unit, err)
	}
	return path, nil
}

// connection returns the connection, made again if there is none.
func (s *Systemd) connection(ctx context.Context) (*bus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus != nil && s.bus.Connected() {
		return s.bus, nil
	}
	if s.bus != nil {
		s.bus.Close()
		s.bus = nil
	}
	b := &bus{}
	conn, err := sd.NewConnection(func() (_ *dbus.Conn, err error) {
		b.signals, err = s.o.dial(ctx) // called twice; the second one is for signals
		return b.signals, err
	})
	if err != nil {
		return nil, fmt.Errorf(
			"connect to systemd over D-Bus: %w; is the system bus (dbus.service) there? without systemd set two commands instead of a unit",
			err)
	}
	b.Conn = conn
	s.bus = b
	return b, nil
}

// Close ends the connection. State and Restart make a new one.
func (s *Systemd) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus != nil {
		s.bus.Close()
		s.bus = nil
	}
}

func dialSystem(ctx context.Context) (*dbus.Conn, error) {
	return dial(ctx, dbus.SystemBusPrivate)
}

// dial makes a connection that outlives ctx; ctx and dialTimeout bound only the making.
func dial(ctx context.Context, open func(...dbus.ConnOption) (*dbus.Conn, error)) (*dbus.Conn, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, end)
	conn, err := open(dbus.WithContext(life))
	if err == nil {
		// By number: looking a name up needs more than a static binary has.
		err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
		if err == nil {
			err = conn.Hello()
		}
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end() // closes the connection too
		return nil, err
	}
	return conn, nil
}
