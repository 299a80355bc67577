// Package machines builds the virtual machines that the system test needs on one
// host, without a hypervisor and without touching the host's own network: three
// broker VMs, each with systemd as its PID 1 in systemd-nspawn, with Apache Kafka as
// its kafka.service; and next to them, each in a network namespace of its own, the
// load balancer, a client and a monitoring host. A switch that can pull each one's
// cable connects them, and nothing else.
//
// It needs root. All it makes has fixed names. So there is one bed on a host, which a lock keeps
// so, and a run finds and removes what a killed one left.
// It ends only processes inside its own control groups and namespaces. It never
// imports the agent's own packages, so it can judge them.
package machines
