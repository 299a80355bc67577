package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/settings"
)

// checkPorts asks for every port of the manifest, and for that of the metrics,
// whether it is free or ours.
func checkPorts(ctx context.Context, s *settings.Settings, owners portuse.Owners, d config.Desired, running []config.Effective) []finding {
	agent := askNeighbour(ctx, s.HTTPListen)
	var findings []finding
	for _, e := range d.Endpoints {
		findings = append(findings,
			judgePort("port of "+e.Name, host.Bindable(ctx, e.BindHost, e.BindPort), owners, e.BindPort, host.Holds(running, e.BindPort), "the broker"),
			judgePort("probe port of "+e.Name, host.Bindable(ctx, e.ProbeHost, e.ProbePort), owners, e.ProbePort, agent.open(e.Name), "the agent"))
	}
	findings = append(findings, checkAsked(agent, d, time.Now())...)
	name, port, err := net.SplitHostPort(s.HTTPListen)
	number, errPort := strconv.Atoi(port)
	if err = errors.Join(err, errPort); err != nil {
		return append(findings, judged("port of the metrics", err, ""))
	}
	return append(findings,
		judgePort("port of the metrics", host.Bindable(ctx, name, number), owners, number, agent.runs(), "the agent"),
		checkLent(portsOf(d, number)))
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
func judgePort(what string, err error, owners portuse.Owners, port int, ours bool, holder string) finding {
	switch {
	case err == nil:
		return well(what, "%d is free", port)
	case ours:
		return well(what, "%d is held by %s", port, holder)
	case errors.Is(err, syscall.EADDRINUSE):
		return broken(what, "%d is taken, and not by %s; %s, or choose another port", port, holder, owners.Advice(port))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return broken(what, "the address is none of this machine's (%v); correct it in the manifest or the settings", err)
	case errors.Is(err, syscall.EACCES) && holder == "the broker":
		return well(what, "%d is not for this user to bind, which says nothing about Kafka's", port)
	}
	return broken(what, "%d cannot be bound (%v)", port, err)
}

// neighbour is the agent that runs here, as its metrics show it; empty if none answers.
type neighbour string

func (n neighbour) runs() bool { return strings.Contains(string(n), "\nkpls_agent_build_info{") }

// open is true if the agent keeps the probe port of the listener open.
func (n neighbour) open(listener string) bool {
	return strings.Contains(string(n), fmt.Sprintf("\nkpls_agent_probe_open{listener=%q} 1\n", listener))
}

// askNeighbour asks the agent that may run here.
func askNeighbour(ctx context.Context, listen string) neighbour {
	name, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host.DialHost(name), port)+"/metrics", nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "" // as a rule: nobody listens
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return ""
	}
	return neighbour("\n" + string(body))
}
