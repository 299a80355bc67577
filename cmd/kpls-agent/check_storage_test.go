package main

import (
	"testing"

	"example.com/kpls-agent/internal/restart"
)

const gib = 1 << 30

func TestCheckStorage(t *testing.T) {
	for _, c := range []struct {
		dir   restart.LogDir
		level level
		says  string
	}{
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib},
			levelOK,
			"/a: 5120 MiB free of 10240 MiB; its meta.properties is there",
		},
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib, Unseen: "X cannot be seen"},
			levelWarning,
			"/a: 5120 MiB free of 10240 MiB; X cannot be seen",
		},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1}, levelWarning, "/a: its free space cannot be seen"},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1, Fault: "offline"}, levelFault, "offline"},
	} {
		got := checkStorage([]restart.LogDir{c.dir}, "")
		if len(got) != 1 || got[0].Level != c.level || got[0].Text != c.says {
			t.Errorf("%+v: %+v", c.dir, got)
		}
	}
}
