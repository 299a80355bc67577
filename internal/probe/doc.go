// Package probe judges whether this broker is fit to serve each managed
// listener, and says so to the load balancer: one TCP port a listener, and the
// same over HTTP.
//
// It owns the listening sockets and the judgement. It speaks of this broker
// only: it never looks at the cluster, and whether a listener may be shown at
// all (the activation of a new one) is decided by package restart.
//
// The judgement is an idle connection held to the listener, whose end is
// noticed at once, and a protocol-level check now and then. A refused
// connection is down at once; a check must fail three times in a row; one
// connection with one good check is up again. Where the check cannot judge, the
// last answer stands.
package probe
