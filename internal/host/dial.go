package host

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/settings"
)

// kafkaLogin is the settings' login; protocol is the listener's, where they do not say it.
func kafkaLogin(s *settings.Settings, protocol string) kafka.Login {
	k := s.Kafka
	if k.Client != nil {
		return ClientLogin(k.Client, k.Tokens)
	}
	return kafka.Login{
		Protocol:    cmp.Or(k.SecurityProtocol, protocol),
		Roots:       func() (*x509.CertPool, error) { return login.PEMRoots(k.TLS.CAFile) },
		Certificate: func() (*tls.Certificate, error) { return login.PEMCertificate(k.TLS.CertFile, k.TLS.KeyFile) },
		ServerName:  k.TLS.ServerName,
		Mechanism:   k.SASL.Mechanism, User: k.SASL.Credentials,
	}
}

// ClientLogin is the login of a client.properties; tokens are its own, if it logs in with such.
func ClientLogin(c *login.Client, tokens *login.Tokens) kafka.Login {
	l := kafka.Login{
		Protocol: c.Protocol, Roots: c.Roots, Certificate: c.Certificate, AnyName: c.AnyName,
		Mechanism: c.Mechanism, User: c.User,
	}
	if c.Mechanism == login.OAuthBearer {
		l.Token, l.TokenFrom, l.Refused = tokens.Token, tokens.From, tokens.Forget
	}
	return l
}

// fits holds the login of the settings against the listener that it is for.
func fits(s *settings.Settings, n Node) error {
	k, has := s.Kafka, n.Agents.SecurityProtocol
	switch {
	case k.Client != nil && k.Client.Protocol != has:
		return fmt.Errorf("%s is for a listener with %s, and the %s, which the agent talks to, has %s; name a file "+
			"for that one as kafka.client_properties, or the listener that is meant as kafka.listener",
			k.Client.Path, k.Client.Protocol, n.Word(), has)
	case k.Client == nil && k.SecurityProtocol != "" && k.SecurityProtocol != has:
		return fmt.Errorf("kafka.security_protocol is %s, and the %s, which the agent talks to, has %s; correct it, "+
			"or name the listener that is meant as kafka.listener", k.SecurityProtocol, n.Word(), has)
	case k.Client == nil && strings.HasPrefix(has, "SASL_") && k.SASL.Mechanism == "":
		return fmt.Errorf("the %s, which the agent talks to, has %s, and the settings name no user; set mechanism, "+
			"username and password_file of kafka.sasl%s, or kafka.client_properties%s",
			n.Word(), has, among(n.Mechanisms[n.Agents.Name]), elsewhere(n))
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
func elsewhere(n Node) string {
	if slices.ContainsFunc(n.Mechanisms[n.Agents.Name],
		func(m string) bool { return slices.Contains(settings.PasswordMechanisms(), m) }) {
		return ""
	}
	return "; for a user with a password add SCRAM-SHA-512 to sasl.enabled.mechanisms of that listener, or name " +
		"another listener of the brokers as kafka.listener"
}

// Dial makes the client that all commands use; change adds what only the daemon has.
func Dial(s *settings.Settings, n Node, log *slog.Logger, change func(*kafka.Options)) (*kafka.Client, error) {
	if err := fits(s, n); err != nil {
		return nil, err
	}
	c := s.Kafka.Client
	o := kafka.Options{
		Seeds: s.Kafka.BootstrapServers, Login: kafkaLogin(s, n.Agents.SecurityProtocol),
		Self: n.BrokerID, OwnAddress: n.Agents.Address(), Topic: s.Kafka.Topic, Logger: log,
	}
	if len(o.Seeds) == 0 && c != nil {
		o.Seeds = slices.Clone(c.Bootstrap)
	}
	if len(o.Seeds) == 0 {
		o.Seeds = []string{n.Agents.Address()}
	}
	o.Known = loadAddresses(s)
	for _, a := range slices.Sorted(maps.Values(o.Known)) {
		if !slices.Contains(o.Seeds, a) {
			o.Seeds = append(o.Seeds, a)
		}
	}
	if change != nil {
		change(&o)
	}
	client, err := kafka.Open(o)
	return client, settings.Denied(err)
}
