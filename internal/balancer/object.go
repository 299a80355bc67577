package balancer

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
)

// state is what a document says of one value.
type state int

const (
	hidden state = iota // the document does not show it; nothing follows
	unset               // the document would show it, and it is not set
	given
)

// fact is one value of a document, as text.
type fact struct {
	state state
	text  string
}

// number is the fact as a number; 0 where it is none.
func (f fact) number() float64 {
	n, err := strconv.ParseFloat(strings.TrimSuffix(f.text, "s"), 64)
	if err != nil {
		return 0
	}
	return n
}

// port is the fact as a port; 0 where it is none.
func (f fact) port() int { return int(f.number()) }

// unknown is the value of something that will be known only later: a plan's computed attribute.
type unknown struct{}

// object is one JSON object.
type object struct {
	fields map[string]any
	// whole is true if an absent field is one that is not set: ARM's own form, and Terraform's. The commands of clouds
	// leave out what they do not know, without a word.
	whole bool
}

// asObject is v, if it is a JSON object. ARM's `properties` are the object itself.
func asObject(v any, whole bool) (object, bool) {
	fields, ok := v.(map[string]any)
	if !ok {
		return object{map[string]any{}, whole}, false
	}
	inner, nested := fields["properties"].(map[string]any)
	if !nested {
		return object{fields, whole}, true
	}
	all := make(map[string]any, len(fields)+len(inner))
	maps.Copy(all, fields)
	maps.Copy(all, inner)
	return object{all, true}, true
}

// value is a field's; names are compared in any case, since versions of one tool differ in it.
func (o object) value(name string) (any, bool) {
	if v, ok := o.fields[name]; ok {
		return v, true
	}
	for k, v := range o.fields {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}

func (o object) has(names ...string) bool {
	for _, n := range names {
		if _, ok := o.value(n); !ok {
			return false
		}
	}
	return true
}

// fact is a field that is text, a number or a truth.
func (o object) fact(name string) fact {
	v, ok := o.value(name)
	if !ok && !o.whole {
		return fact{}
	}
	return asFact(v)
}

func asFact(v any) fact {
	switch v := v.(type) {
	case string:
		return fact{given, v}
	case json.Number:
		return fact{given, v.String()}
	case bool:
		return fact{given, strconv.FormatBool(v)}
	case unknown:
		return fact{}
	default:
		return fact{state: unset}
	}
}

// text is a field as text; empty where there is none.
func (o object) text(name string) string { return o.fact(name).text }

// objects is a field that is a list of objects. A single object counts as a list of one.
func (o object) objects(name string) []object {
	v, _ := o.value(name)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []object
	for _, e := range list {
		if inner, ok := asObject(e, o.whole); ok {
			out = append(out, inner)
		}
	}
	return out
}

// texts is a field that is a list of texts.
func (o object) texts(name string) []string {
	v, _ := o.value(name)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, e := range list {
		if f := asFact(e); f.state == given {
			out = append(out, f.text)
		}
	}
	return out
}

// last is the last part of a cloud's id or URL, in lower case: clouds do not keep the case of their ids.
func last(id string) string {
	return strings.ToLower(id[strings.LastIndexByte(id, '/')+1:])
}

// after is the part of an id that follows a word, such as a network interface's name; empty where it has none.
func after(id, word string) string {
	parts := strings.Split(id, "/")
	for i, p := range parts[:len(parts)-1] {
		if strings.EqualFold(p, word) {
			return parts[i+1]
		}
	}
	return ""
}
