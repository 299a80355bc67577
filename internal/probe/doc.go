// Package probe answers the load balancer: per managed listener one TCP port that
// accepts while this broker serves that listener, and refuses otherwise, with the
// same answer over HTTP.
//
// It owns the judgement of this agent's own broker and the listening sockets. It
// speaks of this broker only and never asks about the cluster; it never opens a
// port for a listener that it was not told may be open (Set), and it answers
// nothing to those who connect. Of one connection a minute it reads the first 64
// bytes, for 100 ms, to say who speaks HTTP to a port that is for TCP checks.
//
// # The judgement
//
// An idle connection is held to the listener, so the end of the process is
// noticed when the kernel closes it, and the listener is asked by Target.Check:
//
//   - a refused connection means not serving, at once;
//   - a check that fails, or has no answer within CheckTimeout, means not serving
//     when it happens Failures times in a row, so a hung broker is out after
//     about six seconds (Interval + Failures x CheckTimeout + the pauses between);
//   - a connection and one good check mean serving;
//   - a held connection that ends and can be made again at once changes nothing
//     (Kafka closes idle ones after connections.max.idle.ms, 10 min);
//   - what cannot be judged (ErrUnknown, or a fault on the agent's own side)
//     leaves the last answer standing.
package probe
