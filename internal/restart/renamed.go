package restart

// renamed says what the reason codes of earlier builds are called now. Statuses of agents that run an earlier build, or
// that have stopped, stay in the log with the old code.
//
// A new name needs a row here and nothing else. An agent of an earlier build does not know it: that agent compares
// codes of other brokers only to keep its own text short, so it shows one more reason within its own.
var renamed = map[Code]Code{
	"needs_a_person": CodeNeedsOperator,
	"no_answer":      CodeNoAnswer,
	"order":          CodeTurn,
	"claim_ahead":    CodeQueue,
	"releasing":      CodeSaving,
}

// UnmarshalText reads a code, also one that an earlier build has written.
func (c *Code) UnmarshalText(text []byte) error {
	*c = Code(text)
	if now, ok := renamed[*c]; ok {
		*c = now
	}
	return nil
}
