// Package report makes what `kpls-agent status` says of a cluster: facts in, a Report for programs and lines for people
// out. It reads no clock and does no I/O, and it never decides anything.
package report
