package host

import (
	"context"
	"net"
	"strconv"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/settings"
)

// ListenerCheck is how to check a listener of the manifest, as the process has it.
func ListenerCheck(
	e config.Endpoint, running []config.Effective, broker int32, login *kafka.Login,
) kafka.ListenerCheck {
	check := kafka.ListenerCheck{
		Protocol: e.SecurityProtocol, Broker: broker, AdvertisedHost: e.AdvertisedHost,
		AdvertisedPort: e.AdvertisedPort, Login: login,
	}
	bind, bindPort := e.BindHost, e.BindPort
	for _, r := range running {
		if r.Name == e.Name {
			check.Protocol, check.AdvertisedHost, check.AdvertisedPort = r.SecurityProtocol, r.AdvertisedHost,
				r.AdvertisedPort
			bind, bindPort = r.BindHost, r.BindPort
		}
	}
	check.Addr = net.JoinHostPort(DialHost(bind), strconv.Itoa(bindPort))
	return check
}

// DialHost is where to reach a listener from this machine.
func DialHost(bind string) string {
	if bind == "" || bind == "0.0.0.0" {
		return "127.0.0.1"
	}
	if ip := net.ParseIP(bind); ip != nil && ip.IsUnspecified() {
		return "::1"
	}
	return bind
}

// ListenerLogin is the agent's login for listeners that ask for one; nil if it has none.
// A token endpoint that is slow costs a check no more than the limit, and leaves it the time to do
// without a login: it makes no broker unfit.
func ListenerLogin(s *settings.Settings, n Node, limit time.Duration) *kafka.Login {
	c := s.Kafka.Client
	if s.Kafka.SASL.Mechanism == "" && s.Kafka.TLS.CertFile == "" && (c == nil || c.Protocol == "PLAINTEXT") {
		return nil
	}
	l := kafkaLogin(s, n.Agents.SecurityProtocol)
	if ask := l.Token; ask != nil {
		l.Token = func(ctx context.Context) (string, map[string]string, error) {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return ask(ctx)
		}
	}
	return &l
}

// Holds is true if one of the listeners has the port.
func Holds(have []config.Effective, port int) bool {
	for _, l := range have {
		if l.BindPort == port {
			return true
		}
	}
	return false
}

// Bindable binds a port for an instant.
func Bindable(ctx context.Context, host string, port int) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
