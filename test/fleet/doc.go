// Package fleet runs real agents, as processes, next to the brokers of a
// sandbox: one for each broker, each with its own settings file, manifest and state.
//
// It owns the agents' processes and files, and reads what they say through
// their own commands, as an operator would. It never looks into them.
package fleet
