// Package system proves the package of the agent on virtual machines.
package system
