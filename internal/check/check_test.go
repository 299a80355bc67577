package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// goodUnit is a unit with nothing to say about.
func goodUnit() unit.Setup {
	return unit.Setup{
		LoadState: "loaded", UnitFileState: "enabled", Fragment: "/etc/systemd/system/kafka.service", Type: "simple", Restart: "on-failure",
		KillMode: "control-group", KillSignal: 15, TimeoutStop: 330 * time.Second, SuccessExitStatus: []int{143},
		RestartDelay: 5 * time.Second, StartLimitInterval: 10 * time.Second, StartLimitBurst: 5, StartLimitAction: "none",
	}
}

func TestJudgeSetup(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*unit.Setup)
		what   string // of the one finding that is not well
		level  Level
		says   string
	}{
		{name: "a good unit", change: func(*unit.Setup) {}},
		{name: "no limit to a stop", change: func(u *unit.Setup) { u.TimeoutStop = unit.Forever }},
		{name: "a static unit", change: func(u *unit.Setup) { u.UnitFileState = "static" }},
		{name: "no automatic restart", change: func(u *unit.Setup) { u.Restart = "no" }},
		{name: "a killed main process only", change: func(u *unit.Setup) { u.KillMode = "mixed" }},
		{name: "no start limit", change: func(u *unit.Setup) { u.StartLimitInterval, u.StartLimitBurst = 0, 5 }},
		{name: "SIGINT", change: func(u *unit.Setup) { u.KillSignal = 2 }},
		{"masked", func(u *unit.Setup) { u.LoadState = "masked" }, "unit kafka.service", Fault, "`systemctl unmask kafka.service`"},
		{"not there", func(u *unit.Setup) { *u = unit.Setup{LoadState: "not-found"} }, "unit kafka.service", Fault, "name the broker's unit as `unit` in the settings"},
		{"a bad file", func(u *unit.Setup) { u.LoadState, u.LoadError = "bad-setting", "no ExecStart=" }, "unit kafka.service", Fault, "(bad-setting: no ExecStart=)"},
		{"not by hand", func(u *unit.Setup) { u.RefuseManual = true }, "unit kafka.service", Fault, "RefuseManualStart="},
		{"changed on disk", func(u *unit.Setup) { u.NeedDaemonReload = true }, "unit kafka.service", Warning, "`systemctl daemon-reload`"},
		{"disabled", func(u *unit.Setup) { u.UnitFileState = "disabled" }, "start at boot", Warning, "`systemctl enable kafka.service`"},
		{"oneshot", func(u *unit.Setup) { u.Type = "oneshot" }, "process of the unit", Fault, "Type=simple"},
		{"remains", func(u *unit.Setup) { u.RemainAfterExit = true }, "process of the unit", Fault, "RemainAfterExit=yes"},
		{"forking", func(u *unit.Setup) { u.Type = "forking" }, "process of the unit", Warning, "without -daemon"},
		{"not killed", func(u *unit.Setup) { u.KillMode = "none" }, "way to stop", Fault, "remove KillMode="},
		{"left running", func(u *unit.Setup) { u.NoSIGKILL = true }, "way to stop", Warning, "SendSIGKILL=no and TimeoutStopSec=330"},
		{name: "left running for as long as it takes", change: func(u *unit.Setup) { u.NoSIGKILL, u.TimeoutStop = true, unit.Forever }},
		{"each restart pages somebody", func(u *unit.Setup) { u.SuccessExitStatus, u.OnFailure = nil, []string{"page@kafka.service"} }, "exit status", Warning, "every restart by the agent starts OnFailure=page@kafka.service"},
		{name: "a failure pages somebody", change: func(u *unit.Setup) { u.OnFailure = []string{"page@kafka.service"} }},
		{"killed", func(u *unit.Setup) { u.KillSignal = 9 }, "way to stop", Fault, "SIGTERM"},
		{"systemd's default time", func(u *unit.Setup) { u.TimeoutStop = 90 * time.Second }, "time to stop", Warning, "kills the broker 1m30s after"},
		{"a second too little", func(u *unit.Setup) { u.TimeoutStop = 329 * time.Second }, "time to stop", Warning, "TimeoutStopSec=330"},
		{"143 is a failure", func(u *unit.Setup) { u.SuccessExitStatus = nil }, "exit status", Warning, "SuccessExitStatus=143"},
		{"the machine reboots", func(u *unit.Setup) { u.StartLimitAction = "reboot" }, "automatic restarts", Warning, "StartLimitAction=reboot"},
		{
			"two starts an hour", func(u *unit.Setup) { u.Restart, u.StartLimitBurst, u.StartLimitInterval = "no", 2, time.Hour },
			"automatic restarts", Warning, "allows 2 starts in 1h0m0s",
		},
		{
			"five starts an hour, quickly used up", func(u *unit.Setup) { u.Restart, u.StartLimitInterval = "always", time.Hour },
			"automatic restarts", Warning, "set RestartSec=721",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := goodUnit()
			c.change(&u)
			expect(t, judgeSetup("kafka.service", u), c.what, c.level, c.says)
		})
	}
}

// expect demands that exactly one finding, or none, is not well.
func expect(t *testing.T, findings []Finding, what string, l Level, says string) {
	t.Helper()
	found := false
	for _, f := range findings {
		switch {
		case f.Level == OK:
		case f.What == what && f.Level == l && strings.Contains(f.Text, says):
			found = true
		default:
			t.Errorf("%s %s: %s", f.Level, f.What, f.Text)
		}
	}
	if found != (what != "") {
		t.Errorf("no %s %q that says %q in %+v", l, what, says, findings)
	}
}

func TestJudgeClock(t *testing.T) {
	const what = "clock"
	for _, c := range []struct {
		ahead, uncertain time.Duration
		err              error
		level            Level
		says             string
	}{
		{3 * time.Millisecond, 2 * time.Millisecond, nil, OK, "within 5ms of the active controller's"},
		{-3 * time.Second, 2 * time.Second, nil, OK, "within 5s"},
		{5 * time.Second, 0, nil, Warning, "5s ahead of"},
		{-5 * time.Second, 0, nil, Warning, "5s behind"},
		{31 * time.Second, 10 * time.Millisecond, nil, Fault, "30.99s ahead of"},
		{-time.Hour, 0, nil, Fault, "1h0m0s behind"},
		{0, 0, errors.New("no\nquorum"), Warning, "no quorum"},
	} {
		f := judgeClock(c.ahead, c.uncertain, c.err)
		if f.What != what || f.Level != c.level || !strings.Contains(f.Text, c.says) {
			t.Errorf("%s %s %v: %+v", c.ahead, c.uncertain, c.err, f)
		}
	}
	for _, c := range []struct {
		synchronized bool
		err          error
		level        Level
		says         string
	}{
		{true, nil, OK, ""},
		{false, nil, Warning, "systemd-timesyncd or chrony"},
		{false, errors.New("no timedated"), Warning, "no timedated; see `timedatectl`"},
	} {
		if f := judgeSynchronized(c.synchronized, c.err); f.Level != c.level || !strings.Contains(f.Text, c.says) {
			t.Errorf("%v %v: %+v", c.synchronized, c.err, f)
		}
	}
}

func TestJudgeRights(t *testing.T) {
	for _, c := range []struct {
		name   string
		rights kafka.Rights
		user   string
		what   string
		level  Level
		says   string
	}{
		{name: "all"},
		{name: "may make its topic", rights: kafka.Rights{NoTopic: true}},
		{
			"none on the cluster",
			kafka.Rights{Cluster: []string{"Describe", "DescribeConfigs"}},
			"agent", "rights on the cluster", Fault,
			`User:agent has no right to Describe and DescribeConfigs; kafka-acls --bootstrap-server ... --add --allow-principal "User:agent" --operation Describe --operation DescribeConfigs --cluster`,
		},
		{"not on its topic", kafka.Rights{Topic: []string{"Write"}}, "", "rights on the coordination topic", Fault, `"the agent's principal" --operation Write --topic __kpls_agent`},
		{"no topic yet", kafka.Rights{NoTopic: true, Topic: []string{"Create"}}, "agent", "rights on the coordination topic", Warning, "--operation Create --topic __kpls_agent"},
		{"hidden topics", kafka.Rights{Hidden: []string{"a", "b", "c", "d", "e", "f"}}, "agent", "topics that the agent sees", Fault, "6 topics with replicas on this broker are hidden from User:agent (a, b, c, d, e, ...)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, judgeRights(c.rights, kafka.DefaultTopic, c.user), c.what, c.level, c.says)
		})
	}
}

func TestJudgeView(t *testing.T) {
	whole := restart.ClusterFacts{Brokers: []int32{1, 2}, Views: make([]restart.BrokerView, 2)}
	expect(t, judgeView(whole), "", "", "")
	blind := whole
	blind.Err = "no broker is registered"
	expect(t, judgeView(blind), "cluster", Fault, "no broker is registered")
	slow := whole
	slow.Took, slow.Quorum = 2400*time.Millisecond, &restart.Quorum{ZooKeeper: true, Leader: 1}
	expect(t, judgeView(slow), "cluster", Warning, "2 views in 2.4s: no broker is restarted while the answers take longer than 1.5s")
	unseen := whole
	unseen.QuorumErr = "ask broker 2 for the quorum: no answer"
	expect(t, judgeView(unseen), "quorum", Fault, "no answer")
	for _, c := range []struct {
		q     restart.Quorum
		level Level
		says  string
	}{
		{restart.Quorum{Leader: 102, Voters: []restart.Voter{{ID: 101}, {ID: 102}, {ID: 103}}}, OK, "voters 101, 102, 103, the active controller is 102"},
		{restart.Quorum{Leader: -1, Voters: []restart.Voter{{ID: 101}}}, Fault, "no controller is active"},
		{restart.Quorum{Leader: 2, ZooKeeper: true}, OK, "none: ZooKeeper mode, the active controller is broker 2"},
		{restart.Quorum{Leader: -1, ZooKeeper: true}, Fault, "see to ZooKeeper"},
	} {
		f := whole
		f.Quorum = &c.q
		found := judgeView(f)
		if got := found[len(found)-1]; got.What != "quorum" || got.Level != c.level || !strings.Contains(got.Text, c.says) {
			t.Errorf("%+v: %+v", c.q, got)
		}
	}
}

func TestJudgeState(t *testing.T) {
	for _, state := range []restart.UnitState{restart.UnitRunning, restart.UnitStarting, restart.UnitStopping, restart.UnitStopped, restart.UnitFailed} {
		expect(t, []Finding{judgeState("commands", restart.UnitFacts{State: state})}, "", "", "")
	}
	expect(t, []Finding{judgeState("commands", restart.UnitFacts{State: restart.UnitUnknown, Detail: "the status command fails"})}, "commands", Fault, "the status command fails")
}

func TestJudgePort(t *testing.T) {
	const what = "port of EXTERNAL"
	for _, c := range []struct {
		err    error
		ours   bool
		holder string
		level  Level
		says   string
	}{
		{nil, false, "the broker", OK, "39092 is free"},
		{syscall.EADDRINUSE, true, "the broker", OK, "39092 is held by the broker"},
		{syscall.EADDRINUSE, false, "the agent", Fault, "39092 is taken, and not by the agent; "},
		{syscall.EADDRNOTAVAIL, false, "the agent", Fault, "none of this machine's"},
		{syscall.EADDRNOTAVAIL, true, "the broker", Fault, "none of this machine's"},
		{syscall.EACCES, false, "the broker", OK, "says nothing about Kafka's"},
		{syscall.EACCES, false, "the agent", Fault, "cannot be bound"},
	} {
		f := judgePort(what, c.err, nil, 39092, c.ours, c.holder)
		if f.What != what || f.Level != c.level || !strings.Contains(f.Text, c.says) {
			t.Errorf("%v %v: %+v", c.err, c.ours, f)
		}
	}
}

func TestJudgeLent(t *testing.T) {
	const usual = "32768\t60999"
	ours := []int{9464, 39092, 39192}
	for _, c := range []struct {
		name           string
		lent, reserved string
		level          Level
		says           string
	}{
		{"as Linux comes", usual, "", Warning, "Linux may give 39092, 39192 to an outgoing connection"},
		{"how to reserve them", usual, "", Warning, "`echo net.ipv4.ip_local_reserved_ports=39092,39192 >/etc/sysctl.d/60-kpls-agent.conf && sysctl --load=/etc/sysctl.d/60-kpls-agent.conf`"},
		{"in addition to what is reserved", usual, "33000-33010,39092,50000", Warning, "ip_local_reserved_ports=33000-33010,39092,50000,39192 >"},
		{"reserved", usual, "39092,39192", OK, ""},
		{"reserved as ranges", usual, "8080,39000-39092,39190-39200", OK, ""},
		{"next to what is reserved", usual, "39093-39191", Warning, "Linux may give 39092, 39192 "},
		{"the range ends before", "32768\t39091", "", OK, ""},
		{"the first of the range", "39192\t60999", "", Warning, "Linux may give 39192 "},
		{"the last of the range", "32768\t39092", "", Warning, "Linux may give 39092 "},
		{"all ports", "1024\t65535", "", Warning, "Linux may give 9464, 39092, 39192 "},
		{"no range", "", "", Warning, "which these are cannot be seen (ip_local_port_range is \"\""},
		{"no list", usual, "39092;39192", Warning, "cannot be seen (ip_local_reserved_ports is \"39092;39192\""},
	} {
		f := judgeEphemeral(ours, c.lent, c.reserved)
		if f.What != "ephemeral ports" || f.Level != c.level || !strings.Contains(f.Text, c.says) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	// What this machine says can be read, whatever it is.
	if f := checkEphemeral(ours); strings.Contains(f.Text, "cannot be seen") {
		t.Errorf("%+v", f)
	}
}

func TestCheckPlaces(t *testing.T) {
	dir := t.TempDir()
	s := &settings.Settings{ServerProperties: filepath.Join(dir, "server.properties"), StateDir: filepath.Join(dir, "not", "there", "yet")}
	if err := os.WriteFile(s.ServerProperties, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var whats []string
	for _, f := range checkPlaces(s) {
		whats = append(whats, f.What)
		if f.Level == Fault {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"user", "right to replace server.properties", "state directory", "space for server.properties", "space in the state directory"}
	if d := cmp.Diff(want, whats); d != "" {
		t.Error(d)
	}
	s.ServerProperties = filepath.Join(dir, "gone")
	if f := checkPlaces(s)[1]; f.Level != Fault || !strings.Contains(f.Text, "no such file") {
		t.Errorf("%+v", f)
	}
	if f := checkUser(0); f.Level != Warning || !strings.Contains(f.Text, "otherwise run this as that user") {
		t.Errorf("%+v", f)
	}
	if f := checkUser(998); f.Level != OK {
		t.Errorf("%+v", f)
	}
	if f := judgeSpace("space", "/etc", spaceNeeded-1); f.Level != Warning || f.Text != "the file system of /etc has 16383 KiB left; free some space, or files cannot be replaced" {
		t.Errorf("%+v", f)
	}
	if f := judgeSpace("space", "/etc", spaceNeeded); f.Level != OK {
		t.Errorf("%+v", f)
	}
}

// TestSettingsRead: a missing file has no fault, and is not said to be there.
func TestSettingsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kpls-agent.yaml")
	for _, want := range []string{"there is no " + path + ", so every field has its default", path} {
		if f := settingsRead(path); f.Level != OK || f.Text != want {
			t.Errorf("%+v, want %q", f, want)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// At its start the agent logs what is not well, waits for its broker in the
// background, and says nothing of a broker that it does not wait for any more.
func TestPreflight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &settings.Settings{
		ServerProperties: filepath.Join(dir, "gone"), StateDir: dir, Commands: settings.Commands{Restart: []string{"false"}, Status: []string{"sh", "-c", "exit 3"}},
		Kafka: settings.Kafka{BootstrapServers: []string{"127.0.0.1:1"}, Topic: kafka.DefaultTopic}, // nobody listens there
	}
	run := func(ctx context.Context) string {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		n := host.Node{Agents: config.Effective{Advertised: true, AdvertisedHost: "127.0.0.1", AdvertisedPort: 1, SecurityProtocol: "PLAINTEXT"}}
		client, err := host.Dial(s, n, log, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		Preflight(ctx, s, n, client, log)
		return out.String()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a command has to answer within it
	defer cancel()
	out := run(ctx)
	for _, want := range []string{`level=WARN msg=check what=unit text="cannot be seen: `, `level=ERROR msg=check what="right to replace server.properties" text="replace `, `level=ERROR msg=check what="login to Kafka"`} {
		if strings.Count(out, want) != 1 {
			t.Errorf("no line %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "what=commands") || strings.Contains(out, `"state directory"`) {
		t.Errorf("it says what is well:\n%s", out)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if out := run(ended); out != "" {
		t.Errorf("it complains about its own end:\n%s", out)
	}
}

// TestCheckMount sees a file that was replaced under its bind mount, and one that is
// mounted on its own, in a mount namespace that ends with the thread. Where a mount
// is refused (it takes root), the file is an ordinary one.
func TestCheckMount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got := checkMount("manifest", path); len(got) != 0 {
		t.Errorf("an ordinary file: %+v", got)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		want := 0
		if unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS) == nil && unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") == nil &&
			unix.Mount(path, path, "", unix.MS_BIND, "") == nil {
			want = 1
		}
		got := checkMount("manifest", path)
		if len(got) != want || want == 1 && (got[0].Level != Warning || !strings.Contains(got[0].Text, "mount the folder "+filepath.Dir(path)+" instead")) {
			t.Errorf("mounted: %+v", got)
		}
	}()
	<-done
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	open := fmt.Sprintf("/proc/self/fd/%d", f.Fd()) // a file without a name, as under a bind mount
	got := checkMount("manifest", open)
	if len(got) != 1 || got[0].Level != Fault || !strings.Contains(got[0].Text, open+" was replaced under its bind mount") {
		t.Errorf("replaced: %+v", got)
	}
}
