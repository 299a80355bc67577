// Package system proves the agent's package on three broker VMs with a systemd of
// their own: what an operator installs, started by what systemd starts, restarting
// Kafka's real unit behind a real load balancer; and every fault that a VM may have.
//
// It needs root, and what test/setup-machines.sh installs; `make e2e` runs it.
package system
