package e2e

import (
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestSettingsHoldRestarts: no roll-out on a broker of which a restart would take dynamic
// settings away; with the line that the reason names it goes on, and every setting stays in
// force. What follows where somebody restarts it all the same: TestMatrixSettingsDropped.
// With three brokers and lost records: TestMatrixLostRecords.
func TestSettingsHoldRestarts(t *testing.T) {
	t.Parallel()
	newSettingsBed(t)
}

// settingsBed is one broker with dynamic defaults and its agent.
type settingsBed struct{ *bed }

// newSettingsBed ends with num.io.threads=8 in the file and in force, and message.max.bytes 2000000.
func newSettingsBed(t *testing.T) settingsBed {
	t.Helper()
	b := settingsBed{newBed(t, sandbox.Options{Brokers: 1, Version: "4.4.0", Properties: func(int32) map[string]string {
		return map[string]string{"num.io.threads": "2", "log.cleaner.dedupe.buffer.size": "33554432"}
	}})}
	b.set("message.max.bytes", "2000000")
	b.set("num.io.threads", "4")
	b.set("num.io.threads", "8")
	before := b.files()[1]
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	b.says("settings_would_drop", "`num.io.threads=8`")
	if b.starts()[1] != 1 || b.files()[1] != before {
		t.Errorf("%d starts, and the file is\n%s", b.starts()[1], b.files()[1])
	}
	if err := b.Brokers[0].Edit(func(file string) string {
		return strings.Replace(file, "num.io.threads=2\n", "num.io.threads=8\n", 1)
	}); err != nil {
		t.Fatal(err)
	}
	b.rolled(manifest)
	b.inForce("num.io.threads", "8")
	b.inForce("message.max.bytes", "2000000")
	return b
}

// set sets a dynamic default and waits until it is in force.
func (b settingsBed) set(key, value string) {
	b.Helper()
	if err := b.SetDynamic(b.Context(), sandbox.AllBrokers, key, value); err != nil {
		b.Fatal(err)
	}
	b.inForce(key, value)
}

func (b settingsBed) says(code, text string) {
	b.Helper()
	b.wait("broker 1 says "+code, func(r fleet.Report) bool {
		return r.Row(1).Reason.Code == code && strings.Contains(r.Row(1).Reason.Text, text)
	})
}

// inForce waits until broker 1 runs with a value.
func (b *bed) inForce(key, value string) {
	b.Helper()
	b.until(key+" is "+value, func() bool {
		running, err := b.Running(b.Context(), 1)
		return err == nil && running[key] == value
	})
}
