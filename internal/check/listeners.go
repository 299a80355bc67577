package check

import (
	"context"
	"errors"
	"slices"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/settings"
)

// checkListeners asks each listener of the manifest that the process has, as the
// daemon does for its probe.
func checkListeners(ctx context.Context, s *settings.Settings, n host.Node, d config.Desired,
	running []config.Effective,
) []Finding {
	var findings []Finding
	for _, e := range d.Endpoints {
		if !slices.ContainsFunc(running, func(r config.Effective) bool { return r.Name == e.Name }) {
			continue
		}
		checker := kafka.NewChecker(host.ListenerCheck(e, running, n.BrokerID,
			host.ListenerLogin(s, n, probe.CheckTimeout/2)))
		err := checker.Check(ctx)
		unseen := checker.Unseen()
		checker.Close()
		findings = append(findings, judgeListener("listener "+e.Name, err, unseen)...)
	}
	return findings
}

// judgeListener says what a check of a listener came to. unseen is why it saw the
// listener from outside only.
func judgeListener(what string, err, unseen error) []Finding {
	var findings []Finding
	if _, ok := errors.AsType[*kafka.CertificateError](err); ok {
		findings = append(findings, doubtful(what, "%s", config.OneLine(err)))
		err = nil
	}
	switch {
	case err != nil:
		return append(findings, broken(what, "it does not serve: %s; see the broker's log", config.OneLine(err)))
	case unseen != nil:
		return append(findings, doubtful(what, "it answers; what it tells its clients cannot be seen: %s",
			config.OneLine(unseen)))
	case len(findings) == 0:
		return []Finding{well(what, "it serves")}
	}
	return findings
}
