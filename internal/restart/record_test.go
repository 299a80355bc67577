package restart

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestClockGoesBack: the silence of an agent counts from when the leader's clock went back, on a map of its own.
func TestClockGoesBack(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	v := NewView()
	v.Fold(NewStatus(Status{Broker: 1}).at(0, at.Add(-time.Minute)))
	v.Fold(NewStatus(Status{Broker: 2}).at(1, at.Add(time.Hour)))
	back := v.With(NewResume().at(2, at))
	if seen := back.Statuses[1].Seen; !seen.Equal(at.Add(-time.Minute)) {
		t.Errorf("a status from before is dated %s", seen)
	}
	if seen := back.Statuses[2].Seen; !seen.Equal(at) || !back.Clock.Equal(at) {
		t.Errorf("at %s the newest status is dated %s", back.Clock, seen)
	}
	if seen := v.Statuses[2].Seen; !seen.Equal(at.Add(time.Hour)) {
		t.Errorf("the view before changed, too: %s", seen)
	}
}

func (r Record) at(offset int64, t time.Time) Record {
	r.Offset, r.Time = offset, t
	return r
}

// TestUnknownKeys: a record under a key that this build does not know stops it only if its version says so. What a
// known key says must be understood.
func TestUnknownKeys(t *testing.T) {
	const (
		ignored = "is ignored: a later version of kpls-agent has written it"
		mistake = "is ignored: no version of kpls-agent writes such a record"
		later   = "cannot be read: its key is unknown to this agent, its version is"
		unread  = "cannot be read: "
	)
	for _, c := range []struct{ name, key, value, want string }{
		{"a later minor version", "mark/1", `{"version":1,"broker":1}`, ignored},
		{"a later major version", "mark/1", `{"version":2,"broker":1}`, later},
		{"a much later major version", "mark/1", `{"version":70}`, later},
		{"a version between", "mark/1", `{"version":1.5}`, later},
		{"no version", "mark/1", `{"broker":1}`, mistake},
		{"version 0", "mark/1", `{"version":0}`, mistake},
		{"a version that is no number", "mark/1", `{"version":"2"}`, mistake},
		{"JSON that is no object", "mark/1", `[{"version":2}]`, mistake},
		{"null", "mark/1", `null`, mistake},
		{"an order of somebody's shop", "user-7", "an order", mistake},
		{"an empty value", "mark/1", "", mistake},
		{"an empty key", "", `{"version":1}`, ignored},
		{"a known key without what follows", "status", `{"version":1}`, ignored},
		{"a key that begins as a known one", "pause/1", `{"version":1}`, ignored},
		{"a known key: a later major version", "pause", `{"version":2}`, unread},
		{"a known key: garbage", "claim/1/x", `garbage`, unread},
		{"a known key: no version", "claim/1/x", `{"broker":1}`, unread},
		{"a known key: of no broker", "status/x", `{"version":1}`, unread},
		{"a known key: of another broker", "status/1", `{"version":1,"broker":2}`, unread},
		{"a known key: below one of another kind", "status/1/x", `{"version":1,"broker":1}`, unread},
	} {
		v := NewView()
		v.Fold(Record{Key: c.key, Value: []byte(c.value)})
		if got := v.Foreign[c.key] + v.Ignored[c.key]; !strings.Contains(got, c.want) {
			t.Errorf("%s: %q %s: it says %q, want %q", c.name, c.key, c.value, got, c.want)
		}
		stops := strings.HasPrefix(c.want, "cannot")
		f := claiming()
		f.Log.View.Fold(Record{Key: c.key, Value: []byte(c.value), Offset: f.Log.View.Next, Time: f.Now})
		veto := slices.ContainsFunc(Vetoes(1, f), func(s Standing) bool {
			return s.Reason != nil && s.Reason.Code == CodeLogForeign
		})
		if veto != stops {
			t.Errorf("%s: %q %s: log_foreign stands: %v", c.name, c.key, c.value, veto)
		}
		v.Fold(Record{Key: c.key, Offset: 1})
		if len(v.Foreign)+len(v.Ignored) > 0 {
			t.Errorf("%s: the key is deleted, and there is still %v %v", c.name, v.Foreign, v.Ignored)
		}
	}
}

// TestKeysOfThisBuild holds that every record of this build has a key of a kind that agents of the build before read:
// they stand still for others. A build may write a new kind after a release that ignores it; the kind comes here then.
func TestKeysOfThisBuild(t *testing.T) {
	read := []string{"status", "claim", "halt", "active", "pause", "restart", "takeover"}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	written := map[string]Record{
		"NewStatus": NewStatus(Status{Broker: 1}),
		"NewClaim":  NewClaim(Claim{Broker: 1}, "n"), "NewRelease": NewRelease(NewClaim(Claim{Broker: 1}, "n").Key),
		"NewHalt": NewHalt(Halt{Manifest: "h"}), "NewUnhalt": NewUnhalt("h"),
		"NewActive": NewActive("EXTERNAL"), "NewInactive": NewInactive("EXTERNAL"),
		"NewPause": NewPause(Pause{}), "NewResume": NewResume(),
		"NewRequest": NewRequest(Request{ID: "r"}), "NewRequestDone": NewRequestDone("r"),
		"NewTakeover": NewTakeover("broker 2", Claim{}, "silent", at),
	}
	for name, r := range written {
		if kind, _, _ := strings.Cut(r.Key, "/"); !slices.Contains(read, kind) {
			t.Errorf("%s writes %q, for which every agent of the build before stands still", name, r.Key)
		}
	}
	for _, name := range recordMakers(t) {
		if _, ok := written[name]; !ok {
			t.Errorf("%s makes a record and is not in this test", name)
		}
	}
}

// recordMakers names the functions of this package that return a Record.
func recordMakers(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !fn.Name.IsExported() || fn.Type.Results == nil || len(fn.Type.Results.List) != 1 {
			continue
		}
		if fmt.Sprint(fn.Type.Results.List[0].Type) == "Record" {
			out = append(out, fn.Name.Name)
		}
	}
	if len(out) < 10 {
		t.Fatalf("found only %v", out)
	}
	return out
}

// TestRenamedCodes: statuses that agents of earlier builds have written say what today's codes say.
func TestRenamedCodes(t *testing.T) {
	current := map[Code]bool{}
	for _, c := range stringConstants(t, "*.go", "Code") {
		current[Code(c)] = true
	}
	for old, now := range renamed {
		if current[old] || !current[now] {
			t.Errorf("%s is renamed to %s; the old one must not be in use, and the new one must", old, now)
		}
		v := NewView()
		v.Fold(Record{
			Key:   "status/1",
			Value: fmt.Appendf(nil, `{"version":1,"broker":1,"reason":{"code":%q,"text":"t"}}`, old),
		})
		if got := v.Statuses[1].Reason.Code; got != now {
			t.Errorf("%s is read as %q, want %s", old, got, now)
		}
	}
}

// With is Fold on a copy, for every kind of record before and after every other one.
func TestViewWith(t *testing.T) {
	for _, a := range records() {
		for _, b := range records() {
			v := NewView().With(a)
			was, folded := v.Clone(), v.Clone()
			b.Offset = 1
			folded.Fold(b)
			if got := v.With(b); !reflect.DeepEqual(got.Clone(), folded.Clone()) {
				t.Errorf("%q after %q: %+v, want %+v", b.Key, a.Key, got, folded)
			}
			gone := v.With(Record{Key: b.Key, Offset: 2})
			if !reflect.DeepEqual(v.Clone(), was) {
				t.Errorf("%q after %q changed the view before it: %+v, was %+v", b.Key, a.Key, v, was)
			}
			if kept(gone, b.Key) {
				t.Errorf("%q is deleted, and there is still %+v", b.Key, gone)
			}
		}
	}
}

// TestProgress: who is done with a rolling restart, who is under way, and who has not begun.
func TestProgress(t *testing.T) {
	v := NewView()
	add := func(r Record) { r.Offset = v.Next; v.Fold(r) }
	q := Request{ID: "r", By: "ann"}
	add(NewRequest(Request{ID: "earlier", By: "ann"}))
	add(NewRequest(q))
	for _, st := range []Status{
		{Broker: 1, Target: "h+r", Phase: PhaseIdle},
		{Broker: 2, Target: "h+r", Phase: PhaseSoaking},
		{Broker: 3, Target: "h+r", Phase: PhaseApplying, Drift: true},
		{Broker: 4, Target: "h+r", Phase: PhaseWaiting, Drift: true},
		{Broker: 5, Target: "h", Phase: PhaseIdle}, // has not heard of it
		{Broker: 6, Target: "h+r", Phase: PhaseStopped, Drift: true},
		{Broker: 7, Target: "h+r", Phase: PhaseRestarting, Drift: true},
	} {
		add(NewStatus(st))
	}
	for _, id := range []int32{2, 3, 7} {
		add(NewClaim(Claim{Broker: id, Target: "h+r"}, "n"))
	}
	want := Progress{Done: []int32{1}, UnderWay: []int32{2, 7}, Left: []int32{3, 4, 5, 6}}
	if got := v.Progress(q); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, r := range v.EndRequests() {
		add(r)
	}
	if len(v.Requests) > 0 || len(v.EndRequests()) > 0 {
		t.Errorf("requests that were ended are still there: %v", v.Requests)
	}
}
