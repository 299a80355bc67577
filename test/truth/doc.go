// Package truth says what an agent must know to give a reason: whatever it shows, for however short a time, has to be
// true of the facts on which it decided. The simulation and the exploration ask it about every decision.
//
// It owns the meaning of each reason, as docs/operations.md has it. It knows nothing of how agents decide.
package truth
