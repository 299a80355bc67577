package unit

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// execLine is a command line of a unit as systemd tells it, by its leading members.
type execLine struct {
	Path   string
	Args   []string
	Ignore bool
	Times  [4]uint64
}

// loaded are a unit's properties with systemd's own types.
func loaded() map[string]any {
	return map[string]any{
		"LoadState": "loaded", "LoadError": struct{ Name, Message string }{"", ""}, "UnitFileState": "enabled", "FragmentPath": "/etc/systemd/system/kafka.service",
		"Type": "simple", "Restart": "on-failure", "KillMode": "control-group", "KillSignal": int32(15), "RemainAfterExit": false,
		"RefuseManualStart": false, "RefuseManualStop": false, "NeedDaemonReload": false,
		"TimeoutStopUSec": uint64(330_000_000), "RestartUSec": uint64(5_000_000), "StartLimitIntervalUSec": uint64(10_000_000), "StartLimitBurst": uint32(5), "StartLimitAction": "none",
		"SuccessExitStatus": struct{ Codes, Signals []int32 }{[]int32{143}, []int32{}},
		"ExecStart":         []execLine{{Path: "/opt/kafka/bin/kafka-server-start.sh", Args: []string{"/opt/kafka/bin/kafka-server-start.sh", "/etc/kafka/server.properties"}}},
		"MainPID":           uint32(0),
	}
}

func TestSetup(t *testing.T) {
	want := Setup{
		LoadState: "loaded", UnitFileState: "enabled", Fragment: "/etc/systemd/system/kafka.service", Type: "simple", Restart: "on-failure",
		KillMode: "control-group", KillSignal: 15, TimeoutStop: 330 * time.Second, SuccessExitStatus: []int{143},
		RestartDelay: 5 * time.Second, StartLimitInterval: 10 * time.Second, StartLimitBurst: 5, StartLimitAction: "none",
		Execs: []Exec{{"ExecStart", []string{"/opt/kafka/bin/kafka-server-start.sh", "/etc/kafka/server.properties"}}},
	}
	for _, c := range []struct {
		name   string
		change func(p map[string]any, want *Setup)
	}{
		{"a unit that is set up well", func(map[string]any, *Setup) {}},
		{"no limit to a stop", func(p map[string]any, w *Setup) {
			p["TimeoutStopUSec"], w.TimeoutStop = uint64(math.MaxUint64), Forever
		}},
		{"masked", func(p map[string]any, w *Setup) { p["LoadState"], w.LoadState = "masked", "masked" }},
		{"a bad setting", func(p map[string]any, w *Setup) {
			p["LoadState"], w.LoadState = "bad-setting", "bad-setting"
			p["LoadError"], w.LoadError = struct{ Name, Message string }{"org.freedesktop.systemd1.BadUnitSetting", "no ExecStart="}, "no ExecStart="
		}},
		{"no start by hand", func(p map[string]any, w *Setup) { p["RefuseManualStart"], w.RefuseManual = true, true }},
		{"no stop by hand", func(p map[string]any, w *Setup) { p["RefuseManualStop"], w.RefuseManual = true, true }},
		{"changed on disk", func(p map[string]any, w *Setup) { p["NeedDaemonReload"], w.NeedDaemonReload = true, true }},
		{"remains after exit", func(p map[string]any, w *Setup) { p["RemainAfterExit"], w.RemainAfterExit = true, true }},
		{"an alias that runs", func(p map[string]any, w *Setup) {
			p["Id"], p["Names"] = "confluent.service", []string{"confluent.service", testUnit}
			p["MainPID"], p["ControlGroup"] = uint32(69), "/system.slice/confluent.service"
			w.ID, w.Names, w.MainPID, w.Group = "confluent.service", []string{"confluent.service", testUnit}, 69, "/system.slice/confluent.service"
		}},
		{"all its command lines", func(p map[string]any, w *Setup) {
			p["ExecStartPre"] = []execLine{{Path: "/bin/a", Args: []string{"/bin/a", "$X"}}, {Path: "/bin/b", Args: []string{"/bin/b"}}}
			p["ExecStop"] = []execLine{{Path: "/bin/sh", Args: []string{"named", "-c", "a b"}}}
			w.Execs = []Exec{{"ExecStartPre", []string{"/bin/a", "$X"}}, {"ExecStartPre", []string{"/bin/b"}}, w.Execs[0], {"ExecStop", []string{"/bin/sh", "-c", "a b"}}}
		}},
		{"what its processes see", func(p map[string]any, w *Setup) {
			type mount struct {
				From, To string
				Ignore   bool
				Flags    uint64
			}
			p["Environment"], p["EnvironmentFiles"] = []string{"A=b c"}, []struct {
				Path   string
				Ignore bool
			}{{"/etc/default/kafka", true}}
			p["WorkingDirectory"], p["RootDirectory"], p["User"] = "/opt/kafka", "/srv", "kafka"
			p["Group"], p["SupplementaryGroups"], w.PrimaryGroup, w.MoreGroups, w.DynamicUser = "kafka", []string{"ssl-cert"}, "kafka", []string{"ssl-cert"}, true
			p["DynamicUser"], p["RuntimeDirectory"], p["RuntimeDirectoryPreserve"], p["ProtectHome"] = true, []string{"kafka"}, "restart", "tmpfs"
			p["TemporaryFileSystem"], p["BindPaths"] = []struct{ Path, Options string }{{"/data", ""}}, []mount{{"/a", "/b", false, 0}}
			w.Environment, w.EnvironmentFiles = []string{"A=b c"}, []string{"/etc/default/kafka"}
			w.WorkingDirectory, w.RootDirectory, w.User = "/opt/kafka", "/srv", "kafka"
			w.PrivateTmp, w.RuntimeDirectory, w.RuntimePreserve, w.ProtectHome = true, []string{"kafka"}, "restart", "tmpfs"
			w.TemporaryFileSystem, w.Bound = []string{"/data"}, []string{"/b"}
		}},
		{"what follows its end", func(p map[string]any, w *Setup) {
			p["SendSIGKILL"], p["OnFailure"], p["FailureAction"], p["SuccessAction"] = false, []string{"page@kafka.service"}, "reboot", "none"
			p["RequiredBy"], p["ConsistsOf"] = []string{"kafka.target", "registry.service"}, []string{"registry.service", "controller.service"}
			w.NoSIGKILL, w.OnFailure, w.FailureAction, w.SuccessAction = true, []string{"page@kafka.service"}, "reboot", "none"
			w.Dependents = []string{"registry.service", "controller.service"}
		}},
		{"not there", func(p map[string]any, w *Setup) {
			clear(p)
			p["LoadState"] = "not-found"
			*w = Setup{LoadState: "not-found"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			s, _ := newSystemd(t, p)
			props, want := loaded(), want
			c.change(props, &want)
			p.set(props)
			got, err := s.Setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestClockSynchronized(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	for _, c := range []struct {
		clock any
		want  bool
		err   string
	}{
		{true, true, ""},
		{false, false, ""},
		{"yes", false, `ask systemd whether the clock is synchronized: the answer is "yes"`},
		{nil, false, "ask systemd whether the clock is synchronized: no timedated"},
	} {
		p.mu.Lock()
		p.clock = c.clock
		p.mu.Unlock()
		got, err := s.ClockSynchronized(t.Context())
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%v: got %v, %v", c.clock, got, err)
		}
	}
}
