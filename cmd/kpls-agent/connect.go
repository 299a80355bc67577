package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// connection is a command's look at the log.
type connection struct {
	vm     *settings.Settings
	client *kafka.Client
	log    *kafka.Log
	stderr io.Writer
	stop   context.CancelFunc
	done   chan struct{}
}

// connect opens the coordination log for a command.
func connect(ctx context.Context, s *shared) (*connection, error) {
	vm, err := s.settings()
	if err != nil {
		return nil, invalid(err)
	}
	n, err := readNode(vm)
	if err != nil {
		return nil, invalid(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	client, err := host.Dial(vm, n, quiet, func(o *kafka.Options) { o.Expect = host.OpenStore(vm, quiet).Brokers })
	if err != nil {
		return nil, invalid(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &connection{
		vm: vm, client: client, log: client.Log(), stderr: s.stderr, stop: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(c.done)
		_ = c.log.Run(ctx) // what keeps it from reading is in its Facts
	}()
	return c, nil
}

// settings are those of this VM. While their file has a fault, a command goes by the last good ones of the service,
// and says so once.
func (s *shared) settings() (*settings.Settings, error) {
	dir := ""
	if s.settingsPath == settings.DefaultPath {
		dir = settings.StateDirectory
	}
	return s.settingsOr(dir)
}

func (s *shared) settingsOr(dir string) (*settings.Settings, error) {
	vm, fault, err := settings.Load(s.settingsPath, dir)
	if fault != "" && fault != s.told {
		s.told = fault
		fmt.Fprintf(s.stderr, "kpls-agent: the settings cannot be used (%s); this goes by the last good ones; correct %s\n",
			fault, s.settingsPath)
	}
	return vm, err
}

// readNode reads which broker this VM has, if it is a broker's.
func readNode(vm *settings.Settings) (host.Node, error) {
	n, err := host.ReadNode(vm)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; or run this on a broker VM", err)
	}
	return n, err
}

func (c *connection) close() {
	c.stop()
	<-c.done
	c.client.Close()
}

// sync reads the log to its end.
func (c *connection) sync(ctx context.Context) error {
	why := func() string { return cmp.Or(c.log.Facts().Err, "the coordination log is not read to its end yet") }
	err := patiently(ctx, c.stderr, why, c.log.Sync)
	if text := c.log.Facts().Err; text != "" && errors.Is(err, context.DeadlineExceeded) {
		err = errors.New(text)
	}
	if err != nil {
		return fmt.Errorf("read the coordination log: %w", err)
	}
	return nil
}

// facts are what the log says, or what keeps it from being read: that is a fact as well.
func (c *connection) facts(ctx context.Context) restart.LogFacts {
	_ = c.sync(ctx)
	f := c.log.Facts()
	if f.Missing { // nobody has needed it yet: it has nothing to say
		f.At, f.Err = time.Now(), ""
	}
	return f
}

// read reads the log to its end and returns what it says: nothing where there is none yet.
func (c *connection) read(ctx context.Context) (*restart.View, error) {
	if err := c.sync(ctx); err != nil && !errors.Is(err, kafka.ErrNoTopic) {
		return nil, fmt.Errorf("%w\nwhat the agent of this host does meanwhile: systemctl status kpls-agent, "+
			"journalctl -u kpls-agent", err)
	}
	return c.log.Facts().View, nil
}

// nonce is unlike any other.
func nonce() string {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil { // never fails: crypto/rand
		return time.Now().Format(time.RFC3339Nano)
	}
	return hex.EncodeToString(b[:])
}
