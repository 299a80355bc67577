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
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// node is this VM's broker as its server.properties names it.
type node struct {
	config.Node
	agents config.Effective // the listener over which the agents talk to the brokers
}

// word names the agents' listener as an operator knows it.
func (n node) word() string {
	if n.agents.Name == n.InterBroker.Name {
		return "inter-broker listener " + n.agents.Name
	}
	return "listener " + n.agents.Name + " (kafka.listener)"
}

func readNode(s *settings.Settings) (node, error) {
	path := s.ServerProperties
	file, err := os.ReadFile(path)
	if err != nil {
		return node{}, fmt.Errorf("read server.properties: %w; name the broker's file as server_properties in the settings", err)
	}
	n, err := config.Identity(path, file)
	if err != nil {
		return node{}, err
	}
	agents := n.InterBroker
	if s.Kafka.Listener != "" {
		if agents, err = n.Listener(s.Kafka.Listener); err != nil {
			return node{}, fmt.Errorf("%s: %w; correct kafka.listener in the settings, or give every broker the listener", path, err)
		}
	}
	return node{n, agents}, nil
}

// addressesFile keeps the brokers' addresses for the time when the own broker is
// down; those of one listener are of no use with another one.
func addressesFile(s *settings.Settings) string {
	name := "brokers.json"
	if s.Kafka.Listener != "" {
		name = "brokers." + strings.ToUpper(s.Kafka.Listener) + ".json"
	}
	return filepath.Join(s.StateDir, name)
}

func loadAddresses(s *settings.Settings) []string {
	var m map[int32]string
	b, err := os.ReadFile(addressesFile(s))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return nil // only a help: it is learnt anew
	}
	return slices.Sorted(maps.Values(m))
}

func saveAddresses(s *settings.Settings, log *slog.Logger) func(map[int32]string) {
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

// kafkaLogin is the settings' login; protocol is the listener's, where they do not say it.
func kafkaLogin(s *settings.Settings, protocol string) kafka.Login {
	k := s.Kafka
	if k.Client != nil {
		return clientLogin(k.Client, k.Tokens)
	}
	return kafka.Login{
		Protocol:    cmp.Or(k.SecurityProtocol, protocol),
		Roots:       func() (*x509.CertPool, error) { return login.PEMRoots(k.TLS.CAFile) },
		Certificate: func() (*tls.Certificate, error) { return login.PEMCertificate(k.TLS.CertFile, k.TLS.KeyFile) },
		ServerName:  k.TLS.ServerName,
		Mechanism:   k.SASL.Mechanism, User: k.SASL.Credentials,
	}
}

// clientLogin is the login of a client.properties; tokens are its own, if it logs in with such.
func clientLogin(c *login.Client, tokens *login.Tokens) kafka.Login {
	l := kafka.Login{Protocol: c.Protocol, Roots: c.Roots, Certificate: c.Certificate, AnyName: c.AnyName, Mechanism: c.Mechanism, User: c.User}
	if c.Mechanism == login.OAuthBearer {
		l.Token = tokens.Token
	}
	return l
}

// fits holds the login of the settings against the listener that it is for.
func fits(s *settings.Settings, n node) error {
	k, has := s.Kafka, n.agents.SecurityProtocol
	switch {
	case k.Client != nil && k.Client.Protocol != has:
		return fmt.Errorf("%s is for a listener with %s, and the %s, which the agent talks to, has %s; name a file for that one as kafka.client_properties, or the listener that is meant as kafka.listener",
			k.Client.Path, k.Client.Protocol, n.word(), has)
	case k.Client == nil && k.SecurityProtocol != "" && k.SecurityProtocol != has:
		return fmt.Errorf("kafka.security_protocol is %s, and the %s, which the agent talks to, has %s; correct it, or name the listener that is meant as kafka.listener", k.SecurityProtocol, n.word(), has)
	case k.Client == nil && strings.HasPrefix(has, "SASL_") && k.SASL.Mechanism == "":
		return fmt.Errorf("the %s, which the agent talks to, has %s, and the settings name no user; set mechanism, username and password_file of kafka.sasl%s, or kafka.client_properties%s",
			n.word(), has, among(n.Mechanisms[n.agents.Name]), elsewhere(n))
	}
	return nil
}

// among says which mechanisms a listener offers.
func among(mechanisms []string) string {
	if len(mechanisms) == 0 {
		return ""
	}
	return " (the listener offers " + strings.Join(mechanisms, ", ") + ")"
}

// elsewhere says what to do where a listener offers nothing that an agent's own
// user could log in with.
func elsewhere(n node) string {
	if slices.ContainsFunc(n.Mechanisms[n.agents.Name], func(m string) bool { return slices.Contains(settings.PasswordMechanisms(), m) }) {
		return ""
	}
	return "; for a user with a password add SCRAM-SHA-512 to sasl.enabled.mechanisms of that listener, or name another listener of the brokers as kafka.listener"
}

// openKafka makes the client that all commands use; change adds what only the daemon has.
func openKafka(s *settings.Settings, n node, log *slog.Logger, change func(*kafka.Options)) (*kafka.Client, error) {
	if err := fits(s, n); err != nil {
		return nil, err
	}
	c := s.Kafka.Client
	o := kafka.Options{
		Seeds: s.Kafka.BootstrapServers, Login: kafkaLogin(s, n.agents.SecurityProtocol),
		Self: n.BrokerID, OwnAddress: n.agents.Address(), Topic: s.Kafka.Topic, Logger: log,
	}
	if len(o.Seeds) == 0 && c != nil {
		o.Seeds = slices.Clone(c.Bootstrap)
	}
	if len(o.Seeds) == 0 {
		o.Seeds = []string{n.agents.Address()}
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
	vm, err := settings.Load(s.settingsPath)
	if err != nil {
		return nil, invalid(err)
	}
	n, err := readNode(vm)
	if err != nil {
		return nil, invalid(err)
	}
	client, err := openKafka(vm, n, slog.New(slog.DiscardHandler), nil)
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
