package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/settings"
)

const gib = 1 << 30

// TestJudgeLogDir: what of a log directory blocks a restart, and what is only not seen.
func TestJudgeLogDir(t *testing.T) {
	whole := diskView{free: 500 * gib, total: 1000 * gib}
	dir := func(free, total int64) kafka.LogDir { return kafka.LogDir{Path: "/data/a", Free: free, Total: total} }
	for _, c := range []struct {
		name          string
		told          kafka.LogDir
		seen          diskView
		change        func(*settings.Storage)
		fault, unseen string
		free          int64
	}{
		{name: "well", told: dir(500*gib, 1000*gib), seen: whole, free: 500 * gib},
		{
			name: "offline",
			told: kafka.LogDir{Path: "/data/a", Err: errors.New("KAFKA_STORAGE_ERROR"), Free: -1, Total: -1},
			seen: whole, free: -1, fault: "log directory /data/a is offline (KAFKA_STORAGE_ERROR)",
		},
		{name: "2 % left, to the byte", told: dir(20*gib, 1000*gib), seen: whole, free: 20 * gib},
		{
			name: "less than 2 %", told: dir(20*gib-1, 1000*gib), seen: whole, free: 20*gib - 1,
			fault: "has 20479 MiB left of 1024000 MiB, and needs 20480 MiB for a restart, or the broker might not come up: free some space, or lower storage.min_free_mib",
		},
		{
			name: "2 % of a small one", told: dir(gib-1, 10*gib), seen: diskView{total: 10 * gib}, free: gib - 1,
			fault: "needs 1024 MiB",
		},
		{name: "nothing left", told: dir(0, gib), seen: diskView{total: gib}, fault: "has 0 MiB left of 1024 MiB"},
		{
			name: "less asked for", told: dir(gib/2, 1000*gib), seen: whole,
			change: func(s *settings.Storage) { s.MinFreeMiB, s.MinFreePercent = 100, 0 }, free: gib / 2,
		},
		{
			name: "more asked for", told: dir(90*gib, 1000*gib), seen: whole,
			change: func(s *settings.Storage) { s.MinFreePercent = 10 }, free: 90 * gib, fault: "needs 102400 MiB",
		},
		{
			name: "before 3.3, seen here", told: dir(-1, -1), seen: diskView{free: gib / 2, total: 10 * gib},
			free: gib / 2, fault: "has 512 MiB left",
		},
		{
			name: "before 3.3, not seen", told: dir(-1, -1),
			seen: diskView{free: -1, total: -1, unseen: "permission denied"}, free: -1, unseen: "permission denied",
		},
		{
			name: "no meta.properties", told: dir(500*gib, 1000*gib),
			seen: diskView{free: 500 * gib, total: 1000 * gib, noMeta: true}, free: 500 * gib,
			fault: "has no meta.properties any more",
		},
		{
			name: "another file system is there for the agent", told: dir(500*gib, 1000*gib),
			seen: diskView{free: gib, total: 2 * gib, noMeta: true}, free: 500 * gib, unseen: "another file system",
		},
		{
			name: "full, and not seen", told: dir(gib/2, 1000*gib),
			seen: diskView{free: -1, total: -1, unseen: "it is not there for the agent"}, free: gib / 2,
			fault: "has 512 MiB left",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings.Storage{MinFreeMiB: 1024, MinFreePercent: 2}
			if c.change != nil {
				c.change(&s)
			}
			got := judgeLogDir(c.told, c.seen, s)
			if got.Free != c.free || !strings.Contains(got.Fault, c.fault) || (got.Fault == "") != (c.fault == "") || !strings.Contains(got.Unseen, c.unseen) || (got.Unseen == "") != (c.unseen == "") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestLookAt looks at real directories.
func TestLookAt(t *testing.T) {
	dir := t.TempDir()
	if v := lookAt(dir); !v.noMeta || v.unseen != "" || v.total <= 0 || v.free > v.total {
		t.Errorf("without meta.properties: %+v", v)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta.properties"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := lookAt(dir); v.noMeta || v.unseen != "" {
		t.Errorf("with it: %+v", v)
	}
	if v := lookAt(filepath.Join(dir, "none")); v.unseen != "it is not there for the agent" || v.noMeta {
		t.Errorf("no directory: %+v", v)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := lookAt(filepath.Join(dir, "file")); v.noMeta || v.unseen == "" {
		t.Errorf("a file: %+v", v)
	}
}

// TestMetadataDirectory: no broker tells of the directory of its metadata where that is not
// one of log.dirs.
func TestMetadataDirectory(t *testing.T) {
	values := func(dir string) map[string]config.RunningValue {
		return map[string]config.RunningValue{"metadata.log.dir": {Value: dir}}
	}
	seen := func(string) diskView { return diskView{free: 500 * gib, total: 1000 * gib} }
	told := []kafka.LogDir{{Path: "/data/a", Free: 500 * gib, Total: 1000 * gib}}
	for dir, want := range map[string]int{"": 1, "/data/a": 1, "/data/./a": 1, "/meta": 2, "meta": 1} {
		got := logDirFacts(told, values(dir), settings.Storage{MinFreeMiB: 1024, MinFreePercent: 2}, seen)
		if len(got) != want || got[len(got)-1].Fault+got[len(got)-1].Unseen != "" {
			t.Errorf("%s: %+v", dir, got)
		}
	}
	got := logDirFacts(told, values("/meta"), settings.Storage{MinFreeMiB: 1024, MinFreePercent: 2}, func(path string) diskView {
		return diskView{free: 500 * gib, total: 1000 * gib, noMeta: path == "/meta"}
	})
	if got[0].Fault != "" || !strings.Contains(got[1].Fault, "/meta has no meta.properties") {
		t.Errorf("%+v", got)
	}
}
