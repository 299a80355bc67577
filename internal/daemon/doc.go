// Package daemon is `kpls-agent run`: it joins the loop of internal/agent to this VM's broker, the log,
// the probes and systemd.
//
// It owns the order in which the parts begin and end, the probes' targets, the HTTP port, and what systemd
// is told. It never decides what happens to the broker, and is never the reason why a healthy one is closed.
package daemon
