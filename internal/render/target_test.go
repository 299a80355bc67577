package render

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const networkSchema = "../../packaging/network.schema.json"

// TestMark: every file says that it was made, so the next render may replace it, and every output says from which
// manifest.
func TestMark(t *testing.T) {
	n, err := Resolve(parsed(t, strings.Replace(manifest, "9100", "9300", 1)), Options{Endpoints: map[string]string{"": "10.9.0.4"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range Targets() {
		for _, f := range target.Formats {
			out, err := f.Make(n)
			if err != nil {
				t.Errorf("%s, %s: %v", target.Name, f.Name, err)
				continue
			}
			hash := false
			for _, file := range out.Files {
				hash = hash || bytes.Contains(file.Text, []byte(n.Manifest))
				if !file.Example && !Ours(file.Text) {
					t.Errorf("%s, %s: %s has no mark in its first lines", target.Name, f.Name, file.Name)
				}
			}
			if !hash {
				t.Errorf("%s, %s: no file has the manifest's SHA-256", target.Name, f.Name)
			}
		}
	}
}

// TestOurs: the mark counts in the first lines only.
func TestOurs(t *testing.T) {
	for text, want := range map[string]bool{
		"":                              false,
		"a\n":                           false,
		Mark + "x":                      true,
		"#!/bin/sh\n# " + Mark:          true,
		"{\n\n\n\n \"a\": \"" + Mark:    true,
		"1\n2\n3\n4\n5\n" + Mark + "\n": false,
	} {
		if got := Ours([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestNetworkSchema: the schema takes what is written, and has each field of the Go type.
func TestNetworkSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(networkSchema)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Resolve(parsed(t, manifest), Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := makeJSON(n)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Files[0].Text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(networkSchema)
	if err != nil {
		t.Fatal(err)
	}
	var s object
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	agree(t, "", reflect.TypeFor[noted](), s)
}

// object is a part of a JSON schema.
type object struct {
	Properties map[string]object
	Required   []string
	Items      *object
}

// agree compares the names of fields, and which of them are always there.
func agree(t *testing.T, path string, typ reflect.Type, s object) {
	t.Helper()
	var names, always []string
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for f := range typ.Fields() {
			if f.Anonymous {
				walk(f.Type.Elem())
				continue
			}
			name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			names = append(names, name)
			if rest != "omitempty" {
				always = append(always, name)
			}
			if kind := f.Type.Kind(); kind == reflect.Struct {
				agree(t, path+name+".", f.Type, s.Properties[name])
			} else if kind == reflect.Slice {
				agree(t, path+name+".", f.Type.Elem(), *s.Properties[name].Items)
			}
		}
	}
	walk(typ)
	var known []string
	for name := range s.Properties {
		known = append(known, name)
	}
	slices.Sort(known)
	slices.Sort(names)
	slices.Sort(always)
	slices.Sort(s.Required)
	if !slices.Equal(known, names) || !slices.Equal(s.Required, always) {
		t.Errorf("%s: the schema has %v, of them required %v; the type has %v, of them always %v", path, known, s.Required,
			names, always)
	}
}
