package host

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/judge"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// says is a judge's service that answers by what the file has.
type says func(file string) any

func (f says) run(t *testing.T, dir string) func(context.Context) error {
	return func(context.Context) error {
		path := filepath.Join(dir, candidateName)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is put to the judge: %v, mode %s", err, info.Mode())
		}
		file, _ := os.ReadFile(path)
		answer := f(string(file))
		if err, ok := answer.(error); ok {
			return err
		}
		text, _ := json.Marshal(answer)
		return os.WriteFile(filepath.Join(dir, verdictName), text, 0o600)
	}
}

// TestJudge: a new file is judged before it counts, and only what is the new file's fault is a refusal.
func TestJudge(t *testing.T) {
	refused := func(texts ...string) judge.Verdict {
		v := judge.Verdict{Kafka: "3.7.1", Java: "17"}
		for _, text := range texts {
			v.Refused = append(v.Refused, judge.Remark{Listener: "EXTERNAL", Text: text})
		}
		return v
	}
	isNew := func(file string) bool { return strings.Contains(file, "EXTERNAL") }
	for _, c := range []struct {
		name    string
		says    says
		version config.Version
		pending string // a line that the process was not started with
		want    string // the refusal; empty: none
	}{
		{name: "takes it", says: func(string) any { return refused() }},
		{name: "cannot judge", says: func(string) any {
			return judge.Verdict{Kafka: "3.7.1", Unjudged: []judge.Remark{{Text: "GSSAPI"}}}
		}},
		{name: "refuses it", says: func(file string) any {
			if isNew(file) {
				return refused("no key store", "no entry")
			}
			return refused()
		}, want: "Kafka 3.7.1 itself would not start with the new server.properties: listener EXTERNAL: no key store (and 1 more); correct"},
		{name: "refuses what the process runs, too", says: func(string) any { return refused("no key store") }},
		{name: "refuses more than that", says: func(file string) any {
			if isNew(file) {
				return refused("no key store", "no entry")
			}
			return refused("no key store")
		}, want: "listener EXTERNAL: no entry; correct"},
		{name: "another version was installed", says: func(string) any { return refused("no key store") }, version: config.Version{Major: 3, Minor: 6}, want: "no key store"},
		{name: "the process does not run the file", says: func(string) any { return refused("no key store") }, pending: "num.io.threads=9\n", want: "no key store"},
		{name: "fails", says: func(string) any { return errors.New("not permitted") }},
		{name: "leaves nothing", says: func(string) any { return struct{}{} }},
		{name: "has no verdict", says: func(string) any { return map[string]string{"fault": "no Java"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stateDir(t, nil)
			st := OpenStore(s, slog.New(slog.DiscardHandler))
			st.Update(os.ReadFile(s.Manifest))
			f, err := OpenFiles(s, 1, st)
			if err != nil {
				t.Fatal(err)
			}
			version := c.version
			if version.IsZero() {
				version = config.Version{Major: 3, Minor: 7}
			}
			process := Process{Version: version, Values: map[string]config.RunningValue{}}
			for line := range strings.Lines(brokerFile) { // it runs what the file says
				if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
					process.Values[key] = config.RunningValue{Settings: []config.Setting{{Source: config.SourceStatic, Name: key, Value: value}}}
				}
			}
			if c.pending != "" {
				if err := os.WriteFile(s.ServerProperties, []byte(brokerFile+c.pending), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f.Learned(process)
			ended := make(chan struct{}, 8)
			j := &Judge{
				dir: JudgeDir(s), run: c.says.run(t, JudgeDir(s)), log: slog.New(slog.DiscardHandler),
				ended: func() { ended <- struct{}{} }, wanted: make(chan struct{}, 1), known: map[string]*Judgement{},
			}
			f.JudgedBy(j)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- j.Run(ctx) }()
			defer func() { cancel(); <-done }()

			if r := f.Manifest(restart.RunningFacts{}).Refusal; r != nil {
				t.Errorf("a broker that does not answer waits for a judge: %v", r)
			}
			running := restart.RunningFacts{Listeners: map[string]string{"INTERNAL": "x"}}
			r := f.Manifest(running).Refusal
			if r == nil || r.Code != restart.CodeJudging {
				t.Fatalf("at first: %v", r)
			}
			patience.Until(t, "it was judged", func() bool {
				select {
				case <-ended:
				default:
				}
				r = f.Manifest(running).Refusal
				return r == nil || r.Code != restart.CodeJudging
			})
			switch {
			case c.want == "" && r != nil:
				t.Errorf("refused: %v", r)
			case c.want != "" && (r == nil || r.Code != restart.CodeRefused || !strings.Contains(r.Text(), c.want)):
				t.Errorf("%v, want %q", r, c.want)
			}
			// The file that the process runs may still be judged.
			for _, name := range []string{candidateName, verdictName} {
				patience.Until(t, name+" is removed", func() bool {
					_, err := os.Stat(filepath.Join(JudgeDir(s), name))
					return errors.Is(err, fs.ErrNotExist)
				})
			}
			// A command knows what the agent knows.
			patience.Until(t, "a command knows it", func() bool {
				view := ViewFiles(s, 1, st)
				view.Learned(process)
				return (view.Manifest(running).Refusal == nil) == (c.want == "")
			})
		})
	}
}
