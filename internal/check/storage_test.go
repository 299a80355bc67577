package check

import (
	"testing"

	"example.com/kpls-agent/internal/restart"
)

const gib = 1 << 30

func TestCheckStorage(t *testing.T) {
	for _, c := range []struct {
		dir   restart.LogDir
		level Level
		says  string
	}{
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib},
			OK,
			"/a: 5120 MiB free of 10240 MiB; its meta.properties is there",
		},
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib, Unseen: "X cannot be seen"},
			Warning,
			"/a: 5120 MiB free of 10240 MiB; X cannot be seen",
		},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1}, Warning, "/a: its free space cannot be seen"},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1, Fault: "offline"}, Fault, "offline"},
	} {
		got := checkStorage([]restart.LogDir{c.dir}, "")
		if len(got) != 1 || got[0].Level != c.level || got[0].Text != c.says {
			t.Errorf("%+v: %+v", c.dir, got)
		}
	}
}
