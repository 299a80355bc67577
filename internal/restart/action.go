package restart

// ActionKind is one thing the shell can do for the machine.
type ActionKind string
