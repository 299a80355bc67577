// Package unit is the only one that touches processes: it sees and restarts the
// broker's service, through systemd over D-Bus (Systemd) or through two commands
// where there is no systemd (Commands), and it tells systemd about the agent
// itself (Notifier).
//
// It owns what the service manager's words mean for the agent. It never decides
// whether a restart is due or succeeded, never starts or stops anything but by a
// restart that was asked for, and never runs a shell.
package unit
