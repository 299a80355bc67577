package supervise

// Lookup reads a process's start time.
var Lookup = lookup
