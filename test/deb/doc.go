// Package deb has the tests of the Debian package: that it is the same from the
// same commit, that Debian's own tools find no fault with it, and that its unit
// keeps the agent from what it does not need. What the package does on a running
// machine is proved on machines.
package deb
