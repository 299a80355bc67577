package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/judge"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
	"example.com/kpls-agent/internal/wait"
)

// JudgeUnit is the package's service that has the broker's own Kafka judge a file, as the broker's user.
const JudgeUnit = "kpls-agent-judge.service"

// JudgeDropIn is the part of that unit that belongs to this machine: `kpls-agent setup` writes it.
const JudgeDropIn = "/etc/systemd/system/" + JudgeUnit + ".d/10-setup.conf"

// The files by which the agent and that service deal with each other, in JudgeDir. systemd reads the first one as root
// and hands it to the service alone (LoadCredential=), and opens the second one as root (StandardOutput=).
const (
	candidateName = "server.properties"
	verdictName   = "verdict.json"
	lastName      = "last.json" // what was judged last, for commands
)

// JudgeDir is where they are.
func JudgeDir(s *settings.Settings) string { return filepath.Join(s.StateDir, "judge") }

// How long a judgement stands while its file is the same: what else it depends on (key stores, classes, the installed
// Kafka) may change. One that refuses is made again soon, since somebody may repair that; one that failed is not.
const (
	takenStands, refusedStands, failedStands = 10 * time.Minute, time.Minute, 10 * time.Minute
	judgeTimeout                             = judge.Limit + 30*time.Second // the unit's own limit is between the two
)

// Judgement is what is known of one server.properties.
type Judgement struct {
	At time.Time `json:"at"`
	// Verdict is nil where there is none; Fault says why.
	Verdict *judge.Verdict `json:"verdict,omitempty"`
	Fault   string         `json:"fault,omitempty"`
}

// refuses is true for a verdict that refuses the file.
func (j *Judgement) refuses() bool { return j.Verdict != nil && len(j.Verdict.Refused) > 0 }

func (j *Judgement) stands(now time.Time) bool {
	switch {
	case j.Verdict == nil:
		return now.Sub(j.At) < failedStands
	case j.refuses():
		return now.Sub(j.At) < refusedStands
	}
	return now.Sub(j.At) < takenStands
}

// Judge has files judged by the broker's own Kafka, one at a time and in the background.
type Judge struct {
	dir    string
	run    func(context.Context) error // runs the service, or the command, to its end
	log    *slog.Logger
	ended  func() // called after each judgement
	wanted chan struct{}

	mu    sync.Mutex
	next  []byte                // to be judged; nil for nothing
	known map[string]*Judgement // by hash: the candidate, and the file as it is
}

// NewJudge returns nil where there is nobody who judges: no systemd, and no command for it.
func NewJudge(s *settings.Settings, u any, log *slog.Logger, ended func()) *Judge {
	j := &Judge{
		dir: JudgeDir(s), log: log, ended: ended, wanted: make(chan struct{}, 1), known: map[string]*Judgement{},
	}
	switch u := u.(type) {
	case *unit.Systemd:
		j.run = func(ctx context.Context) error { return u.RunOnce(ctx, JudgeUnit) }
	case *unit.Commands:
		if len(s.Commands.Judge) == 0 {
			return nil
		}
		j.run = func(ctx context.Context) error {
			candidate, verdict := filepath.Join(j.dir, candidateName), filepath.Join(j.dir, verdictName)
			out, err := unit.Output(ctx, unit.Command{Argv: append(slices.Clone(s.Commands.Judge), candidate)})
			return errors.Join(err, os.WriteFile(verdict, out, 0o600))
		}
	default:
		return nil
	}
	return j
}

func hashOf(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// Of returns what is known of a file, nil where it was never judged. One that does not stand any more is returned, too,
// and judged again.
func (j *Judge) Of(file []byte) *Judgement {
	j.mu.Lock()
	defer j.mu.Unlock()
	got := j.known[hashOf(file)]
	if got == nil || !got.stands(time.Now()) {
		j.next = bytes.Clone(file)
		wait.Wake(j.wanted)
	}
	return got
}

// Run judges what is asked for until ctx ends; it returns nil then.
func (j *Judge) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.wanted:
		}
		j.mu.Lock()
		file := j.next
		j.next = nil
		j.mu.Unlock()
		if file == nil {
			continue
		}
		got := &Judgement{}
		v, err := j.ask(ctx, file)
		if err != nil {
			got.Fault = config.OneLine(err)
		}
		if ctx.Err() == nil { // else it was not judged to the end
			got.At, got.Verdict = time.Now(), v
			j.note(hashOf(file), got)
			j.ended()
		}
	}
}

// note keeps a judgement: two files are in question at a time, the new one and the one that the process runs.
func (j *Judge) note(of string, got *Judgement) {
	j.mu.Lock()
	before := j.known[of]
	if len(j.known) > 3 {
		j.known = map[string]*Judgement{}
	}
	j.known[of] = got
	text, err := json.Marshal(j.known)
	j.mu.Unlock()
	if before == nil || before.Fault != got.Fault || before.refuses() != got.refuses() {
		switch {
		case got.Fault != "":
			j.log.Warn("kafka has not judged server.properties", "err", got.Fault)
		default:
			j.log.Info("kafka has judged server.properties", "kafka", got.Verdict.Kafka, "java", got.Verdict.Java,
				"refused", len(got.Verdict.Refused), "not_judged", len(got.Verdict.Unjudged))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(j.dir, lastName), text, 0o600)
	}
	if err != nil {
		j.log.Warn("what Kafka has judged cannot be kept for commands", "err", err)
	}
}

// ask puts a file to the service. Both files are removed afterwards: they may hold secrets.
func (j *Judge) ask(ctx context.Context, file []byte) (_ *judge.Verdict, err error) {
	candidate, verdict := filepath.Join(j.dir, candidateName), filepath.Join(j.dir, verdictName)
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the judge: %w", err)
	}
	defer func() {
		for _, path := range []string{candidate, verdict} {
			if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	for path, data := range map[string][]byte{candidate: file, verdict: nil} { // ours to read, whoever writes it
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return nil, fmt.Errorf("write for the judge: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	ran := j.run(ctx)
	text, err := os.ReadFile(verdict)
	if err != nil {
		return nil, errors.Join(ran, err)
	}
	var v struct {
		judge.Verdict
		Fault string `json:"fault"`
	}
	if e := json.Unmarshal(text, &v); e != nil || v.Kafka == "" {
		if v.Fault != "" {
			return nil, errors.New(v.Fault)
		}
		return nil, errors.Join(ran, errors.New("no verdict was left"))
	}
	return &v.Verdict, nil
}

// judged is who knows what Kafka says of a file; nil where that is still to come.
type judged interface{ Of(file []byte) *Judgement }

// JudgedBy has new files judged before the agent restarts its broker for them.
func (f *Files) JudgedBy(j *Judge) { f.judge = j }

// judgement returns why the broker's own Kafka would not start with the new file, or that this is still to come; nil if
// it would start, and where nobody can tell. Only a broker that runs is protected so: one that is down has nothing to
// lose, and at the first boot of a VM it waits for its file.
//
// proven is true where the process runs what the file says so far. What Kafka refuses of that file, too, is no fault of
// the new one: the judge then sees less than the broker does, such as another environment or hidden folders. That holds
// for the same version of Kafka; another one that was installed since may well refuse what the process runs.
func (f *Files) judgement(s sight, proven bool) *restart.Reason {
	waiting := restart.NewReason(restart.CodeJudging,
		"Kafka itself judges the new server.properties, before any broker is restarted; this takes some seconds")
	now := f.judge.Of(s.rendered.File)
	if now == nil {
		return waiting
	}
	if !now.refuses() {
		return nil
	}
	refused := now.Verdict.Refused
	if proven && now.by(s.version) {
		before := f.judge.Of(s.data)
		if before == nil {
			return waiting
		}
		refused = before.without(refused)
	}
	if len(refused) == 0 {
		return nil
	}
	more := ""
	if n := len(refused) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return restart.NewReason(restart.CodeRefused, strings.ReplaceAll(fmt.Sprintf(
		"Kafka %s itself would not start with the new server.properties: %s%s; correct the manifest, or what it names on this "+
			"VM: the file is judged again every minute", now.Verdict.Kafka, refused[0], more), "\n", " "))
}

// by is true if a Kafka of the version has judged: major and minor, which is what a client sees of a broker.
func (j *Judgement) by(v config.Version) bool {
	installed, err := config.ParseVersion(j.Verdict.Kafka)
	return err == nil && installed.Major == v.Major && installed.Minor == v.Minor
}

// without returns the remarks that this judgement does not have.
func (j *Judgement) without(remarks []judge.Remark) []judge.Remark {
	if j.Verdict == nil {
		return remarks
	}
	return slices.DeleteFunc(slices.Clone(remarks), func(r judge.Remark) bool {
		return slices.ContainsFunc(j.Verdict.Refused, func(o judge.Remark) bool { return r.String() == o.String() })
	})
}

// lastJudged is what commands know: what the agent of this VM has had judged last.
type lastJudged struct{ vm *settings.Settings }

// Of returns an empty judgement for a file that was not judged: a command has none made.
func (l lastJudged) Of(file []byte) *Judgement {
	if j, ok := LastJudgements(l.vm)[hashOf(file)]; ok {
		return j
	}
	return &Judgement{}
}

// LastJudgements are those that the agent of this VM knows, by the hash of the file; nil for nothing, or nothing that
// can be read.
func LastJudgements(s *settings.Settings) map[string]*Judgement {
	text, err := os.ReadFile(filepath.Join(JudgeDir(s), lastName))
	if err != nil {
		return nil
	}
	var all map[string]*Judgement
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	return all
}
