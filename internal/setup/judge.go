package setup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// judged writes the judge's drop-in, or removes it where the broker's start cannot be seen. It returns whether the
// agent may start the judge, and whether a unit has changed.
func (u *Setup) judged(ctx context.Context, path string, s *settings.Settings) (allowed, reload bool, err error) {
	if s.Unit == "" || u.Broker == nil {
		reload, err = u.remove(u.JudgeDropIn)
		return false, reload, err
	}
	broker, err := u.Broker(ctx, s)
	if err != nil {
		return false, false, err
	}
	start, err := broker.KafkaStart()
	if err != nil {
		if broker.LoadState == "loaded" {
			u.Say("Kafka does not judge a new server.properties before a restart: %v", err)
		}
		reload, err = u.remove(u.JudgeDropIn)
		return false, reload, err
	}
	reload, err = u.write(u.JudgeDropIn, judgeDropIn(path, s, broker, start))
	return err == nil, reload, err
}

// judgeDropIn has the judge run as the broker does: its user, its environment, its Kafka.
func judgeDropIn(path string, s *settings.Settings, b unit.Setup, start unit.KafkaStart) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# Written by `kpls-agent setup` from %s and the unit %s. Change these and run it\n"+
		"# again instead of changing this file.\n[Service]\n", path, s.Unit)
	user := b.User
	if user == "" {
		user = "root"
	}
	fmt.Fprintf(&w, "User=%s\n", user)
	if b.PrimaryGroup != "" {
		fmt.Fprintf(&w, "Group=%s\n", b.PrimaryGroup)
	}
	if len(b.MoreGroups) > 0 {
		fmt.Fprintf(&w, "SupplementaryGroups=%s\n", strings.Join(b.MoreGroups, " "))
	}
	if start.Direct && start.Java == "" {
		w.WriteString("# All options of the broker's Java are known: what is not set below is not set at all.\n" +
			"Environment=KAFKA_OPTS=\n")
	}
	for _, kv := range b.Environment {
		if !strings.HasPrefix(kv, "TMPDIR=") {
			fmt.Fprintf(&w, "Environment=%s\n", word(kv))
		}
	}
	for _, file := range b.EnvironmentFiles {
		fmt.Fprintf(&w, "EnvironmentFile=-%s\n", strings.ReplaceAll(file, "%", "%%"))
	}
	if s.StateDir != settings.StateDirectory {
		dir := strings.ReplaceAll(host.JudgeDir(s), "%", "%%")
		fmt.Fprintf(&w, "LoadCredential=\nLoadCredential=server.properties:%s\nStandardOutput=truncate:%s\n",
			filepath.Join(dir, "server.properties"), filepath.Join(dir, "verdict.json"))
	}
	w.WriteString("ExecStart=\nExecStart=")
	if start.Java != "" { // it reads no KAFKA_OPTS, whatever the environment files say
		w.WriteString("/usr/bin/env ")
		if home, ok := strings.CutSuffix(start.Java, "/bin/java"); ok {
			w.WriteString(execWord("JAVA_HOME="+home) + " ")
		}
		if start.Direct {
			w.WriteString(execWord("KAFKA_OPTS="+strings.Join(start.Options, " ")) + " ")
		} else {
			w.WriteString("--unset=KAFKA_OPTS ")
		}
	}
	w.WriteString("/usr/bin/kpls-agent judge --output json --kafka-home " + execWord(start.Home))
	for _, o := range start.Overrides {
		w.WriteString(" --override " + execWord(o))
	}
	w.WriteString(" ${CREDENTIALS_DIRECTORY}/server.properties\n")
	return w.String()
}

// execWord is one word of a command line of a unit file, in which systemd replaces variables as well.
func execWord(s string) string { return strings.ReplaceAll(word(s), "$", "$$") }

// undoJudge takes the judge's drop-in back.
func (u *Setup) undoJudge() (reload bool, err error) {
	reload, err = u.remove(u.JudgeDropIn)
	if reload && !u.Dry {
		_ = os.Remove(filepath.Dir(u.JudgeDropIn)) // stays where an administrator has drop-ins there
	}
	return reload, err
}
