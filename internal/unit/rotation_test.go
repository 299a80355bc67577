package unit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJudgeRotation(t *testing.T) {
	const about = "/var/log/kafka/*.log {\n  daily\n  postrotate\n    %\n  endscript\n}\n"
	for _, c := range []struct {
		name, script, restart string
		level                 Level
		says                  string
	}{
		{"kill, and it stays down", "kill -HUP $(cat /run/kafka.pid)", "on-abnormal", Fault, "kafka sends SIGHUP, at which Kafka ends with status 129, and with Restart=on-abnormal it stays down"},
		{"kill without any restart", "kill -1 `cat /run/kafka.pid` 2>/dev/null || true", "", Fault, "with Restart=no it stays down"},
		{"kill, and it comes back", "/bin/kill -s HUP `pgrep java`", "on-failure", Warning, "Restart=on-failure starts it again, past the agent"},
		{"systemctl kill", "systemctl kill -s HUP kafka.service", "always", Warning, "past the agent"},
		{"systemctl reload", "systemctl reload kafka", "always", Warning, "past the agent"},
		{"pkill in an if", "if [ -f /run/kafka.pid ]; then pkill -HUP -f kafka.Kafka; fi", "always", Warning, "past the agent"},
		{"another signal", "kill -USR1 $(cat /run/kafka.pid)", "no", OK, "no SIGHUP"},
		{"no script", "", "no", OK, "no SIGHUP"},
		{"another unit", "systemctl kill -s HUP rsyslog.service", "no", OK, "no SIGHUP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"kafka": strings.Replace(about, "%", c.script, 1),
				"nginx": "/var/log/nginx/*.log {\n postrotate\n kill -HUP $(cat /run/nginx.pid)\n endscript\n}\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := Picture{Setup: unitOf(t, `ExecReload=/bin/kill -HUP $MAINPID`)}
			p.Restart = c.restart
			got := p.JudgeRotation(dir)
			if len(got) != 1 || got[0].Level != c.level || !strings.Contains(got[0].Text, c.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
	if got := (Picture{}).JudgeRotation("/no/such/folder"); len(got) != 1 || got[0].Level != OK {
		t.Errorf("no logrotate: %+v", got)
	}
}
