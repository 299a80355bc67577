package restart

import (
	"testing"
	"time"

	"example.com/kpls-agent/test/fields"
)

// unkeyed are the fields that stand in no key, and why.
var unkeyed = map[string]string{
	"Machine.opts":           "they do not change while an agent process lives",
	"shownMemory.since":      "it is only shown",
	"walkMemory.unprotected": "it follows from the observation",
	"walkMemory.at":          "it is that of the observation",
	"heard.seen":             "it comes with the view, which has a key of its own",
	"Followed.Started":       "only whether the restart still counts as planned",
	"Status.Since":           "it is only shown",
	"Status.Agent":           "it is only shown",
	"Status.Took":            "it is only shown",
	"Reason.About":           "it is only shown",
	"Reason.format":          "a text",
	"Reason.args":            "a text",
	"Reason.text":            "a text",
	"Claim.Version":          "a view holds no record of another version",
	"Claim.At":               "it is only shown",
	"Claim.Offset":           "the order of the claims is in the key",
	"Halt.Version":           "a view holds no record of another version",
	"Halt.Manifest":          "it is the key of the map",
	"Halt.Why":               "a text",
	"Halt.At":                "it is only shown",
	"Pause.Version":          "that there is a pause is in the key",
	"Pause.By":               "a text",
	"Pause.Why":              "a text",
	"Pause.At":               "it is only shown",
	"Request.Version":        "a view holds no record of another version",
	"Request.By":             "a text",
	"Request.At":             "it is only shown",
	"View.Next":              "the order of the records is in the key",
	"View.Ignored":           "what is in it stops nobody",
}

// Each field changes the key, or unkeyed says why it does not.
func TestKeysForgetNoField(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f := Facts{Now: now, Manifest: ManifestFacts{Drain: time.Minute, Soak: time.Minute}}
	f.Cluster.At, f.Running.At = now.Add(-time.Hour), now.Add(-time.Hour)
	m := &Machine{opts: Options{StartTimeout: time.Minute, ProgressTimeout: time.Minute, Takeover: time.Minute}}
	m.mem.stage = stageMemory{stage: StageProve, moving: "1", at: now, movedAt: now} // else their times decide nothing
	m.mem.process.at = now.Add(-2 * time.Hour)
	m.mem.log.heard = map[int32]heard{2: {at: now}}
	j := &Journal{FileState: FileState{Prior: &Intent{}}}
	v := NewView()
	v.Clock = now
	v.Statuses[1], v.Halts["h"], v.Claims, v.Requests, v.Pause = Status{Seen: now}, Halt{}, []Claim{{}}, []Request{{}}, &Pause{}
	for _, c := range []struct {
		of  any
		key func() []byte
	}{
		{m, func() []byte { return m.AppendKey(nil, &f) }},
		{j, func() []byte { return j.AppendKey(nil, now) }},
		{v, func() []byte { return v.AppendKey(nil, time.Minute) }},
	} {
		fields.Each(t, c.of, now.Add(-30*time.Minute), unkeyed, c.key)
	}
}
