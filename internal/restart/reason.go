package restart

// Reason says why an agent does what it does, or nothing.
type Reason struct {
	// Code is stable and documented in docs/operations.md.
	Code Code `json:"code"`
	// Text is one sentence for people: what is in the way, where, and who can change it.
	Text string `json:"text"`
}

// Code is the stable name of a reason; it is also a metric label.
type Code string
