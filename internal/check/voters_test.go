package check

import (
	"errors"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/kafka"
)

func TestJudgeNonVoters(t *testing.T) {
	if got := judgeNonVoters(nil, nil); got != nil {
		t.Errorf("none: %+v", got)
	}
	if got := judgeNonVoters(nil, errors.New("no answer")); len(got) != 1 || got[0].Level != Warning || got[0].Text != "cannot be seen: no answer" {
		t.Errorf("not seen: %+v", got)
	}
	got := judgeNonVoters([]kafka.NonVoter{{ID: 103, Directory: "new", Voter: "old"}, {ID: 104, Directory: "d"}}, nil)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []string{
		"controller 103 runs with storage that was formatted again (directory id new), and the voter is the one before (old), so it counts as down; remove that one (kafka-metadata-quorum --bootstrap-server ... remove-controller --controller-id 103 --controller-directory-id old), then ",
		"node 104 follows the quorum, and is neither a voter nor a registered broker: ",
	} {
		if got[i].What != "controllers without a vote" || got[i].Level != Warning || !strings.HasPrefix(got[i].Text, want) {
			t.Errorf("%+v, want %s", got[i], want)
		}
	}
}
