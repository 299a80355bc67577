package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestEscapeProperty(t *testing.T) {
	for _, s := range []string{
		"", " a b ", "=x", ":x", "#x", "!x", `\`, `C:\temp`, "a\tb\nc\rd\fe", "ü€😀", "\x00\x7f", "${file:/x:y}", "k=v;",
	} {
		line := escapeProperty("k "+s, true) + "=" + escapeProperty(s, false) + "\n"
		p, err := readProperties("f", []byte(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got, ok := p.get("k " + s); !ok || got != s || len(p.entries) != 1 {
			t.Errorf("%q became %q by way of %q", s, got, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' }) {
			t.Errorf("%q is not plain ASCII", line)
		}
	}
}

// TestAppend: whatever the end of the file looks like, a new key is a line of its own.
func TestAppend(t *testing.T) {
	for file, want := range map[string]string{
		"":               "k=v\n",
		"a=b":            "a=b\nk=v\n",
		"a=b\n":          "a=b\nk=v\n",
		"a=b\r\n":        "a=b\r\nk=v\r\n",
		"a=b\rc=d":       "a=b\rc=d\rk=v\r",
		"a=b\\":          "a=b\\\n\nk=v\n",
		"a=b\\\n":        "a=b\\\n\nk=v\n",
		"a=b\\\n  ":      "a=b\\\n  \nk=v\n",
		"x=y\na=b\\\r":   "x=y\na=b\\\r\rk=v\n",
		"x=y\r\na=b\\":   "x=y\r\na=b\\\r\n\r\nk=v\r\n",
		"a=b\\\\":        "a=b\\\\\nk=v\n",
		"# note \\":      "# note \\\nk=v\n",
		"a=b\n\n# end":   "a=b\n\n# end\nk=v\n",
		"a=b\\\n# end\\": "a=b\\\n# end\\\n\nk=v\n",
	} {
		p, err := readProperties("f", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.edit([]propEdit{{key: "k", value: "v"}})
		if err != nil || string(out) != want {
			t.Errorf("%q became %q, %v; want %q", file, out, err, want)
		}
		q, err := readProperties("f", out)
		if err != nil || len(q.entries) != len(p.entries)+1 || q.entries[len(p.entries)].key != "k" {
			t.Errorf("%q: %+v, %v", out, q.entries, err)
		}
	}
}

// TestReplace: the value that counts is replaced and nothing else.
func TestReplace(t *testing.T) {
	for file, want := range map[string]string{
		"k=1\nk = 2 \r\nx=3":    "k=1\nk = v\r\nx=3",
		"  k : 1\\\n   2\nx=3":  "  k : v\nx=3",
		"k 1\n":                 "k=v\n",
		"k\n":                   "k=v\n",
		"k":                     "k=v",
		"k=":                    "k=v",
		"k=1\\":                 "k=v",
		"k=\\\n  1\n":           "k=v\n",
		"k\\\n =1\n":            "k=v\n",
		"\\\nk=1\n":             "k=v\n",
		"# k=1\nk=1\n# k=1\n":   "# k=1\nk=v\n# k=1\n",
		"\\u006b=1\r\n\r\nx=\r": "\\u006b=v\r\n\r\nx=\r",
	} {
		p, err := readProperties("f", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.edit([]propEdit{{key: "k", value: "v"}})
		if err != nil {
			t.Fatal(err)
		}
		if q, err := readProperties("f", out); err != nil || q.text("k") != "v" {
			t.Errorf("%q became %q, in which k is %q, %v", file, out, q.text("k"), err)
		}
		if string(out) != want {
			t.Errorf("%q became %q, want %q", file, out, want)
		}
	}
}

func TestCrossCheck(t *testing.T) {
	all := func(string) bool { return true }
	for file, agree := range map[string]bool{
		"a=1\\\r\n  2\r\n": true, // evened out
		"a=1\\":            true,
		"a=${b}\n":         true, // not expanded
		"a=\\ud83d\\ude00": true,
		"a=\xe9":           true,
		"a\\\nb=1\n":       false,
		"=1\n":             false,
		"\\\na=1\n":        false,
	} {
		p, err := readProperties("f", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.crossCheck(all); (err == nil) != agree {
			t.Errorf("%q: %v", file, err)
		}
		none := p.crossCheck(func(string) bool { return false })
		if none != nil && file != "=1\n" {
			t.Errorf("%q: refused for what does not matter: %v", file, none)
		}
	}
}

func FuzzReadProperties(f *testing.F) {
	for _, h := range hardCases {
		f.Add([]byte(h.file))
	}
	for seed := range uint64(50) {
		f.Add(newGenerator(seed).noise())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readProperties("f", data)
		if err != nil {
			if _, ok := errors.AsType[*Refusal](err); !ok {
				t.Fatal(err)
			}
			return
		}
		at := 0
		for _, e := range p.entries {
			if e.start < at || e.end < e.valueEnd || e.valueEnd < e.valueStart || e.valueStart < e.start || e.end > len(data) {
				t.Fatalf("entry %+v after byte %d of %q", e, at, data)
			}
			at = e.end
		}
		if out, changes, err := p.edit(nil); err != nil || len(changes) > 0 || !bytes.Equal(out, data) {
			t.Fatalf("no edit made %q of %q: %v", out, data, err)
		}
		out, _, err := p.edit([]propEdit{{key: "new key", value: "v"}})
		if err != nil {
			t.Fatal(err)
		}
		q, err := readProperties("f", out)
		if err != nil {
			t.Fatal(err)
		}
		for key := range p.last {
			a, _ := p.get(key)
			// An entry without a key can be a mere backslash at the end, which is gone then.
			if b, ok := q.get(key); key != "" && (!ok || a != b && key != "new key") {
				t.Fatalf("a new key made %q of %q: %q", b, a, data)
			}
		}
	})
}

func FuzzRender(f *testing.F) {
	for i, h := range hardCases {
		f.Add([]byte(h.file), uint64(i))
	}
	for seed := range uint64(50) {
		file, _ := newGenerator(seed).file()
		f.Add(file, seed)
	}
	f.Fuzz(func(t *testing.T, file []byte, seed uint64) {
		checkRender(t, file, newGenerator(seed).desired(), v371)
	})
}
