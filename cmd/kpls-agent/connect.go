package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/restart"
)

// node is this VM's broker as its server.properties names it.
type node struct {
	config.Node
	address string // of the inter-broker listener
}

func readNode(path string) (node, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return node{}, fmt.Errorf("read server.properties: %w; name the broker's file as server_properties in the settings", err)
	}
	n, err := config.Identity(path, file)
	if err != nil {
		return node{}, err
	}
	return node{n, n.Bootstrap()}, nil
}

// addressesFile keeps the brokers' addresses for the time when the own broker is down.
func addressesFile(s *Settings) string { return filepath.Join(s.StateDir, "brokers.json") }

func loadAddresses(s *Settings) []string {
	var m map[int32]string
	b, err := os.ReadFile(addressesFile(s))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return nil // only a help: it is learnt anew
	}
	return slices.Sorted(maps.Values(m))
}

func saveAddresses(s *Settings, log *slog.Logger) func(map[int32]string) {
	return func(m map[int32]string) {
		b, err := json.Marshal(m)
		if err == nil {
			err = durable.WriteFile(addressesFile(s), append(b, '\n'), durable.Options{})
		}
		if err != nil {
			log.Warn("the brokers' addresses could not be kept", "err", err)
		}
	}
}

// kafkaLogin is the settings' login; without one, the inter-broker listener's protocol.
func kafkaLogin(s *Settings, protocol string) kafka.Login {
	k := s.Kafka
	if k.Client != nil {
		return clientLogin(k.Client)
	}
	return kafka.Login{
		Protocol:    cmp.Or(k.SecurityProtocol, protocol),
		Roots:       func() (*x509.CertPool, error) { return login.PEMRoots(k.TLS.CAFile) },
		Certificate: func() (*tls.Certificate, error) { return login.PEMCertificate(k.TLS.CertFile, k.TLS.KeyFile) },
		ServerName:  k.TLS.ServerName,
		Mechanism:   k.SASL.Mechanism, User: k.SASL.user,
	}
}

// clientLogin is the login of a client.properties.
func clientLogin(c *login.Client) kafka.Login {
	return kafka.Login{Protocol: c.Protocol, Roots: c.Roots, Certificate: c.Certificate, AnyName: c.AnyName, Mechanism: c.Mechanism, User: c.User}
}

// openKafka makes the client that all commands use; change adds what only the daemon has.
func openKafka(s *Settings, n node, log *slog.Logger, change func(*kafka.Options)) (*kafka.Client, error) {
	c := s.Kafka.Client
	if c != nil && c.Protocol != n.InterBroker.SecurityProtocol {
		return nil, fmt.Errorf("%s is for a listener with %s, and the inter-broker listener %s, which the agent talks to, has %s; name a file for that one as kafka.client_properties",
			c.Path, c.Protocol, n.InterBroker.Name, n.InterBroker.SecurityProtocol)
	}
	o := kafka.Options{
		Seeds: s.Kafka.BootstrapServers, Login: kafkaLogin(s, n.InterBroker.SecurityProtocol),
		Self: n.BrokerID, OwnAddress: n.address, Topic: s.Kafka.Topic, Logger: log,
	}
	if len(o.Seeds) == 0 && c != nil {
		o.Seeds = slices.Clone(c.Bootstrap)
	}
	if len(o.Seeds) == 0 {
		o.Seeds = []string{n.address}
	}
	for _, a := range loadAddresses(s) {
		if !slices.Contains(o.Seeds, a) {
			o.Seeds = append(o.Seeds, a)
		}
	}
	if change != nil {
		change(&o)
	}
	return kafka.Open(o)
}

// connection is a command's look at the log.
type connection struct {
	client *kafka.Client
	log    *kafka.Log
	stderr io.Writer
	stop   context.CancelFunc
	done   chan struct{}
}

// connect opens the coordination log for a command.
func connect(ctx context.Context, s *shared) (*connection, error) {
	settings, err := LoadSettings(s.settingsPath)
	if err != nil {
		return nil, invalid(err)
	}
	n, err := readNode(settings.ServerProperties)
	if err != nil {
		return nil, invalid(err)
	}
	client, err := openKafka(settings, n, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, invalid(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &connection{client: client, log: client.Log(), stderr: s.stderr, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = c.log.Run(ctx) // what keeps it from reading is in its Facts
	}()
	return c, nil
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

// read reads the log to its end and returns what it says.
func (c *connection) read(ctx context.Context) (*restart.View, error) {
	if err := c.sync(ctx); err != nil {
		return nil, fmt.Errorf("%w\nwhat the agent of this host does meanwhile: systemctl status kpls-agent, journalctl -u kpls-agent", err)
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
