package check

import (
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
)

// judgeNonVoters names controllers that run and have no vote: the quorum bears no loss more with them.
func judgeNonVoters(found []kafka.NonVoter, err error) []Finding {
	const what = "controllers without a vote"
	if err != nil {
		return []Finding{doubtful(what, "cannot be seen: %s", config.OneLine(err))}
	}
	var findings []Finding
	for _, n := range found {
		if n.Voter != "" {
			findings = append(findings, doubtful(what, "controller %d runs with storage that was formatted again (directory id "+
				"%s), and the voter is the one before (%s), so it counts as down; remove that one (kafka-metadata-quorum "+
				"--bootstrap-server ... remove-controller --controller-id %d --controller-directory-id %s), then let the new "+
				"one vote: on its machine kafka-metadata-quorum --command-config ITS-PROPERTIES --bootstrap-server ... "+
				"add-controller", n.ID, n.Directory, n.Voter, n.ID, n.Voter))
			continue
		}
		findings = append(findings, doubtful(what, "node %d follows the quorum, and is neither a voter nor a registered broker: "+
			"a controller without a vote, unless it is a broker that starts for the first time just now. If it is to vote: on "+
			"its machine kafka-metadata-quorum --command-config ITS-PROPERTIES --bootstrap-server ... add-controller", n.ID))
	}
	return findings
}
