package check

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/settings"
)

// checkPorts asks for every port of the manifest, and for that of the metrics,
// whether it is free or ours.
func checkPorts(ctx context.Context, s *settings.Settings, owners portuse.Owners, d config.Desired,
	running []config.Effective,
) []Finding {
	agent := AskNeighbour(ctx, s.HTTPListen)
	var findings []Finding
	for _, e := range d.Endpoints {
		findings = append(findings,
			judgePort("port of "+e.Name, host.Bindable(ctx, e.BindHost, e.BindPort), owners, e.BindPort,
				host.Holds(running, e.BindPort), "the broker"),
			judgePort("probe port of "+e.Name, host.Bindable(ctx, e.ProbeHost, e.ProbePort), owners, e.ProbePort,
				agent.Open(e.Name), "the agent"))
	}
	findings = append(findings, checkAsked(agent, d, time.Now())...)
	name, port, err := net.SplitHostPort(s.HTTPListen)
	number, errPort := strconv.Atoi(port)
	if err = errors.Join(err, errPort); err != nil {
		return append(findings, judged("port of the metrics", err, ""))
	}
	return append(findings,
		judgePort("port of the metrics", host.Bindable(ctx, name, number), owners, number, agent.Runs(), "the agent"),
		checkEphemeral(portsOf(d, number)))
}

// portsOf are all ports that the broker and the agent bind for the manifest, and more.
func portsOf(d config.Desired, more ...int) []int {
	ports := more
	for _, e := range d.Endpoints {
		ports = append(ports, e.BindPort, e.ProbePort)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// judgePort says what it means that a port could be bound, or not. Its holder is
// ours or a stranger.
func judgePort(what string, err error, owners portuse.Owners, port int, ours bool, holder string) Finding {
	switch {
	case err == nil:
		return well(what, "%d is free", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL): // whoever holds the port holds it at another address
		return broken(what, "the address is none of this machine's (%v); correct it in the manifest (`bind`, such as 0.0.0.0 or "+
			"`<host>`, or the broker's `host`) or the settings", err)
	case ours:
		return well(what, "%d is held by %s", port, holder)
	case errors.Is(err, syscall.EADDRINUSE):
		return broken(what, "%d is taken, and not by %s; %s, or choose another port", port, holder, owners.Advice(port))
	case errors.Is(err, syscall.EACCES) && holder == "the broker":
		return well(what, "%d is not for this user to bind, which says nothing about Kafka's", port)
	}
	return broken(what, "%d cannot be bound (%v)", port, err)
}
