package main

import (
	"context"
	"net"
	"strconv"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/settings"
)

// listenerCheck is how to check a listener of the manifest, as the process has it.
func listenerCheck(e config.Endpoint, running []config.Effective, broker int32, login *kafka.Login) kafka.ListenerCheck {
	check := kafka.ListenerCheck{
		Protocol: e.SecurityProtocol, Broker: broker, AdvertisedHost: e.AdvertisedHost, AdvertisedPort: e.AdvertisedPort, Login: login,
	}
	bind, bindPort := e.BindHost, e.BindPort
	for _, r := range running {
		if r.Name == e.Name {
			check.Protocol, check.AdvertisedHost, check.AdvertisedPort = r.SecurityProtocol, r.AdvertisedHost, r.AdvertisedPort
			bind, bindPort = r.BindHost, r.BindPort
		}
	}
	check.Addr = net.JoinHostPort(dialHost(bind), strconv.Itoa(bindPort))
	return check
}

// dialHost is where to reach a listener from this machine.
func dialHost(bind string) string {
	if bind == "" || bind == "0.0.0.0" {
		return "127.0.0.1"
	}
	if ip := net.ParseIP(bind); ip != nil && ip.IsUnspecified() {
		return "::1"
	}
	return bind
}

// listenerLogin is the agent's login for listeners that ask for one; nil if it has none.
// A token endpoint that is slow leaves a check the time to do without a login: it makes
// no broker unfit.
func listenerLogin(s *settings.Settings, n node) *kafka.Login {
	c := s.Kafka.Client
	if s.Kafka.SASL.Mechanism == "" && s.Kafka.TLS.CertFile == "" && (c == nil || c.Protocol == "PLAINTEXT") {
		return nil
	}
	l := kafkaLogin(s, n.agents.SecurityProtocol)
	if ask := l.Token; ask != nil {
		l.Token = func(ctx context.Context) (string, map[string]string, error) {
			ctx, cancel := context.WithTimeout(ctx, probe.CheckTimeout/2)
			defer cancel()
			return ask(ctx)
		}
	}
	return &l
}

func ours(have []config.Effective, port int) bool {
	for _, l := range have {
		if l.BindPort == port {
			return true
		}
	}
	return false
}

// bindable binds a port for an instant.
func bindable(ctx context.Context, host string, port int) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
