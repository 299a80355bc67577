package check

import (
	"cmp"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/judge"
)

func TestJudge(t *testing.T) {
	here := t.TempDir()
	at := time.Now()
	of := func(v *judge.Verdict, fault string) map[string]*host.Judgement {
		return map[string]*host.Judgement{
			"old": {At: at.Add(-time.Hour), Fault: "an old fault"}, "new": {At: at, Verdict: v, Fault: fault},
		}
	}
	for _, c := range []struct {
		name, dropIn string
		state        string // loaded, where it is empty
		known        map[string]*host.Judgement
		level        Level
		want         string
	}{
		{"masked", here, "masked", nil, Warning, "kpls-agent-judge.service is masked; if that is not meant: systemctl unmask kpls-agent-judge.service"},
		{"not set up", filepath.Join(here, "none"), "", nil, Warning, "`kpls-agent setup` writes it"},
		{"nothing yet", here, "", nil, OK, "no new server.properties has been judged yet"},
		{"taken", here, "", of(&judge.Verdict{Kafka: "4.4.0", Java: "17"}, ""), OK, "Kafka 4.4.0 on Java 17 takes"},
		{"not all", here, "", of(&judge.Verdict{Kafka: "4.4.0", Unjudged: []judge.Remark{{Listener: "A", Text: "GSSAPI"}}}, ""), OK, "could not judge listener A: GSSAPI"},
		{"refused", here, "", of(&judge.Verdict{Kafka: "4.4.0", Refused: []judge.Remark{{Text: "no entry"}}}, ""), Warning, "refuses the last server.properties that was put to it: no entry"},
		{"failed", here, "", of(nil, "not permitted"), Warning, "was not judged by Kafka itself: not permitted"},
	} {
		if f := ofJudge(c.dropIn, cmp.Or(c.state, "loaded"), c.known); f.Level != c.level || !strings.Contains(f.Text, c.want) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
