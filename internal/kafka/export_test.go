package kafka

// What tests look at from the inside.
var (
	QuorumOf  = quorum
	ViewOf    = brokerView
	EntryOf   = entry
	ReleaseOf = release
	KnownOf   = known
	LacksOf   = lacksListener
	ValuesOf  = valuesOf
)
