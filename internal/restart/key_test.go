package restart

import (
	"bytes"
	"reflect"
	"testing"
	"time"
	"unsafe"
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
		of  reflect.Value
		key func() []byte
	}{
		{reflect.ValueOf(m), func() []byte { return m.AppendKey(nil, &f) }},
		{reflect.ValueOf(j), func() []byte { return j.AppendKey(nil, now) }},
		{reflect.ValueOf(v), func() []byte { return v.AppendKey(nil, time.Minute) }},
	} {
		changeEach(t, c.of.Elem(), now.Add(-30*time.Minute), c.key)
	}
}

// changeEach changes one field of a struct after the other, and those of what it holds, and looks at the key.
func changeEach(t *testing.T, of reflect.Value, at time.Time, key func() []byte) {
	t.Helper()
	for i := range of.NumField() {
		field, name := of.Field(i), of.Type().Name()+"."+of.Type().Field(i).Name
		if unkeyed[name] != "" {
			continue
		}
		field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
		isTime := field.Type() == reflect.TypeFor[time.Time]()
		switch {
		case isTime:
		case field.Kind() == reflect.Struct:
			changeEach(t, field, at, key)
			continue
		case field.Kind() == reflect.Pointer:
			changeEach(t, field.Elem(), at, key)
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			changeEach(t, field.Index(0), at, key)
		case field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.Struct:
			k := field.MapKeys()[0]
			entry := reflect.New(field.Type().Elem()).Elem()
			entry.Set(field.MapIndex(k))
			changeEach(t, entry, at, func() []byte {
				field.SetMapIndex(k, entry)
				return key()
			})
		}
		before, was := key(), reflect.New(field.Type()).Elem()
		was.Set(field)
		if field.IsZero() || isTime || field.Kind() == reflect.Map && field.Len() == 0 {
			field.Set(another(field.Type(), at))
		} else {
			field.SetZero()
		}
		if bytes.Equal(before, key()) {
			t.Errorf("%s does not change the key", name)
		}
		field.Set(was)
	}
}

// another is a value that is not the zero value.
func another(of reflect.Type, at time.Time) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.Append(v, another(of.Elem(), at)))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(another(of.Key(), at), another(of.Elem(), at))
	case reflect.Struct:
		v.Set(reflect.ValueOf(at))
	default:
	}
	return v
}
