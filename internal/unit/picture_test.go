package unit

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/kpls-agent/internal/restart"
)

// What systemd 252 says of a unit with a shell around its broker, an alias and an ExecStop=, and of
// its processes: taken from a machine, as test/system has it in its step `unit shapes`.
func shellUnit() map[string]any {
	p := loaded()
	maps.Copy(p, running(1))
	return change(p, "Id", "confluent-server.service", "Names", []string{"confluent-server.service", testUnit},
		"ControlGroup", "/system.slice/confluent-server.service", "MainPID", uint32(69),
		"Environment", []string{"KAFKA_CONFIG=/etc/kafka/server.properties", "OPT=a b"},
		"ExecStart", []execLine{{Path: "/bin/sh", Args: []string{"/bin/sh", "-c", `/usr/local/bin/java -Xmx1g kafka.Kafka "$KAFKA_CONFIG" --override "a=b c" ${OPT} $OPT > /tmp/log 2>&1; exit $?`}}},
		"ExecStop", []execLine{{Path: "/opt/kafka/bin/kafka-server-stop.sh", Args: []string{"/opt/kafka/bin/kafka-server-stop.sh"}}},
	)
}

var (
	shellProcess = processLine{"/system.slice/confluent-server.service", 69, `/bin/sh -c "/usr/local/bin/java -Xmx1g kafka.Kafka \"\$KAFKA_CONFIG\" --override \"a=b c\" a b \$OPT > /tmp/log 2>&1; exit \$?"`}
	javaProcess  = processLine{"/system.slice/confluent-server.service", 70, `/usr/local/bin/java -Xmx1g kafka.Kafka /etc/kafka/server.properties --override "a=b c" a b a b`}
	otherProcess = processLine{"/system.slice/system-kafka.slice/kafka@2.service", 200, `/usr/local/bin/java kafka.Kafka /etc/kafka/server-2.properties`}
	byHand       = processLine{"/user.slice/user-1000.slice/session-3.scope", 300, `java kafka.Kafka /etc/kafka/server.properties`}
)

// queuedJob is the Job property on the bus: (uo); id 0 is none.
type queuedJob struct {
	ID   uint32
	Path dbus.ObjectPath
}

func newJudging(t *testing.T, p *peer) *Systemd {
	s, _ := newSystemd(t, p)
	s.o.Broker = func() Broker { return Broker{Properties: "/etc/kafka/server.properties", LogDirs: []string{"/data"}} }
	return s
}

func TestPicture(t *testing.T) {
	p := newPeer(t)
	p.set(shellUnit())
	p.processes = []processLine{{"/init.scope", 1, "/sbin/init"}, shellProcess, javaProcess}
	got, err := newJudging(t, p).Look(t.Context())
	if err != nil || got.Blind != nil {
		t.Fatal(err, got.Blind)
	}
	want := []Process{{PID: 70, Group: "/system.slice/confluent-server.service", Argv: []string{
		"/usr/local/bin/java", "-Xmx1g", "kafka.Kafka", "/etc/kafka/server.properties", "--override", "a=b c", "a", "b", "a", "b",
	}}}
	if d := cmp.Diff(want, got.Processes, cmpopts.IgnoreFields(Process{}, "Dir", "Program")); d != "" {
		t.Error(d)
	}
	// What the shell was to be told is what it was told.
	run, _ := got.commands()
	for _, c := range run {
		if words := c.startsKafka(); c.name() == "java" {
			var texts []string
			for _, w := range words {
				texts = append(texts, w.text)
			}
			if d := cmp.Diff(want[0].Argv[3:], texts); d != "" {
				t.Error(d)
			}
		}
	}
}

func TestHazard(t *testing.T) {
	p := newPeer(t)
	p.set(shellUnit())
	p.restart = func(*peer) (string, *dbus.Error) { t.Error("the unit is restarted"); return "done", nil }
	s := newJudging(t, p)
	look := func() restart.UnitFacts {
		s.last = sight{} // as if its time had come
		return s.State(t.Context())
	}
	if f := look(); f.Hazard != "" || f.State != restart.UnitRunning {
		t.Errorf("processes that cannot be seen: %+v", f)
	}
	p.mu.Lock()
	p.processes = []processLine{shellProcess, javaProcess, otherProcess}
	p.mu.Unlock()
	const says = "ExecStop=/opt/kafka/bin/kafka-server-stop.sh ends every Kafka process of this machine, process 200 of kafka@2.service, with /etc/kafka/server-2.properties too; remove ExecStop="
	if f := look(); f.State != restart.UnitRunning || !strings.HasPrefix(f.Hazard, says) {
		t.Errorf("another process: %+v", f)
	}
	if err := s.Restart(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "kafka.service is not restarted: "+says) {
		t.Errorf("got %v", err)
	}
	p.mu.Lock()
	p.processes = []processLine{shellProcess, javaProcess}
	p.mu.Unlock()
	if f := look(); f.Hazard != "" {
		t.Errorf("it is gone: %+v", f)
	}
}

// A change of server.properties that the broker would not read is reported before it is made.
func TestDeaf(t *testing.T) {
	p := newPeer(t)
	p.set(shellUnit())
	p.processes = []processLine{shellProcess, javaProcess}
	s := newJudging(t, p)
	line := s.CommandLine(t.Context())
	if line.Deaf != "" {
		t.Errorf("it hears: %q", line.Deaf)
	}
	if d := cmp.Diff(map[string]string{"a": "b c"}, line.Overrides); d != "" {
		t.Error(d)
	}
	managed := s.o.Broker()
	managed.Managed = func(key string) bool { return key == "a" } // shellUnit overrides it
	s.o.Broker = func() Broker { return managed }
	s.last = sight{}
	if why := s.CommandLine(t.Context()).Deaf; !strings.HasPrefix(why, "--override a beats server.properties") {
		t.Errorf("an override: %q", why)
	}
	managed.Properties = "/srv/server.properties"
	s.last = sight{}
	if why := s.CommandLine(t.Context()).Deaf; !strings.Contains(why, "the broker is started with /etc/kafka/server.properties, and the settings name /srv/server.properties") {
		t.Errorf("another file: %q", why)
	}
}

// A restart is refused for what came after the last observation.
func TestHazardOfTheLastMoment(t *testing.T) {
	p := newPeer(t)
	p.set(shellUnit())
	p.processes = []processLine{shellProcess, javaProcess}
	p.restart = func(*peer) (string, *dbus.Error) { t.Error("the unit is restarted"); return "done", nil }
	s := newJudging(t, p)
	if f := s.State(t.Context()); f.Hazard != "" {
		t.Fatalf("got %+v", f)
	}
	p.mu.Lock()
	p.processes = append(p.processes, otherProcess)
	p.mu.Unlock()
	if err := s.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "kafka@2.service") {
		t.Errorf("got %v", err)
	}
}

func TestStartedByHand(t *testing.T) {
	p := newPeer(t)
	stopped := change(shellUnit(), "ActiveState", "inactive", "SubState", "dead", "ControlGroup", "", "MainPID", uint32(0), "Job", queuedJob{Path: "/"})
	p.set(stopped)
	p.processes = []processLine{byHand}
	s := newJudging(t, p)
	const says = "process 300 of session-3.scope, with /etc/kafka/server.properties runs and confluent-server.service is inactive: it was started outside of the unit; stop it (`kill 300`), wait until it has ended, then `systemctl start confluent-server.service`"
	if f := s.State(t.Context()); f.State != restart.UnitUnknown || f.Detail != says {
		t.Errorf("got %+v", f)
	}
	// It may be the one that a queued start is about to replace: that is judged when it has ended.
	p.set(change(shellUnit(), "ActiveState", "inactive", "SubState", "dead", "ControlGroup", "", "MainPID", uint32(0), "Job", queuedJob{ID: 7, Path: "/org/freedesktop/systemd1/job/7"}))
	if f := s.State(t.Context()); f.State != restart.UnitStopped || !f.Queued {
		t.Errorf("got %+v", f)
	}
	// Nobody asks again within 2 s; then it is gone.
	p.mu.Lock()
	p.processes = []processLine{}
	p.asked = nil
	p.mu.Unlock()
	p.set(stopped)
	s.State(t.Context())
	s.State(t.Context())
	p.mu.Lock()
	if n := len(slices.DeleteFunc(slices.Clone(p.asked), func(m string) bool { return m != "GetUnitProcesses" })); n > 1 && time.Since(s.last.at) < pictureAgeDown {
		t.Errorf("asks for all processes %d times in a row", n)
	}
	p.mu.Unlock()
	s.last.at = s.last.at.Add(-pictureAgeDown)
	if f := s.State(t.Context()); f.State != restart.UnitStopped {
		t.Errorf("got %+v", f)
	}
}

// The agent goes by what root has seen where it sees less, for as long as the unit is the same.
func TestSeenByRoot(t *testing.T) {
	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	if err := os.WriteFile(env, []byte("DATA=/data\nPASSWORD=secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(more ...any) map[string]any {
		p := change(shellUnit(), "ExecStop", []execLine{}, "EnvironmentFiles", []struct {
			Path   string
			Ignore bool
		}{{env, false}}, "ExecStopPost", []execLine{
			{Path: "/bin/rm", Args: []string{"/bin/rm", "-rf", "${DATA}"}},
			{Path: "/usr/bin/curl", Args: []string{"/usr/bin/curl", "-u", "me:${PASSWORD}", "http://there/"}},
		})
		return change(p, more...)
	}
	p := newPeer(t)
	p.processes = []processLine{shellProcess, javaProcess}
	p.set(with())
	s := newJudging(t, p)
	root, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := root.Write(func(path string) bool { return path == env })
	if seen == nil || root.Write(func(string) bool { return false }) != nil {
		t.Fatalf("root writes down %+v", seen)
	}
	if text, err := json.Marshal(seen); err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("it writes a secret down: %s %v", text, err)
	}

	// From here on as the service: it cannot read the file.
	if err := errors.Join(os.Remove(env), os.Symlink("env", env)); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		s.last = sight{}
		return s.State(t.Context()).Hazard
	}
	if hazard := look(); hazard != "" {
		t.Errorf("nothing is written down: %q", hazard)
	}
	s.o.Seen = func() *Seen { return seen }
	if hazard := look(); !strings.Contains(hazard, "ExecStopPost=/bin/rm -rf /data removes data of this broker in /data at each stop") {
		t.Errorf("got %q", hazard)
	}
	p.set(with("WorkingDirectory", "/elsewhere"))
	if hazard := look(); hazard != "" {
		t.Errorf("of another unit: %q", hazard)
	}
}
