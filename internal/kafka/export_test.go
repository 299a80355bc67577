package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// What tests look at from the inside.
var (
	QuorumOf  = quorum
	ViewOf    = brokerView
	EntryOf   = entry
	EntriesOf = brokerEntries
	ReleaseOf = release
	KnownOf   = known
	LacksOf   = lacksListener
	LogDirsOf = logDirs

	NonVotersOf = nonVoters

	OtherBrokerOf = otherBroker
)

// MinISROf is what an answer for all topics makes of ClusterFacts.
func MinISROf(resp *kmsg.DescribeConfigsResponse, strictest int) (inForce, strict map[string]int, err error) {
	values, err := valuesOf(resp, keyMinISR)
	if err != nil {
		return nil, nil, err
	}
	return minISROf(values, strictest)
}

// VerifyCodes are all codes of a VerifyFault.
var VerifyCodes = []string{
	faultUsage, faultLogin, faultBootstrap, faultNotInManifest, faultNotNamed, faultAddress, faultWrongBroker,
	faultWrongCluster, faultLeadsNothing, faultDNS, faultRefused, faultNoAnswer, faultUnreachable, faultProbePort,
	faultEnds, faultProxy, faultTLS, faultNoTLS, faultHTTP, faultCertificate, faultNeedsLogin, faultNoLogin, faultTopic,
	faultRights, faultLeader, faultOther,
}
