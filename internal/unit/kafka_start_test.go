package unit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

func TestKafkaStart(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kafka/bin/kafka-server-start.sh": "#!/bin/sh\n", "jars/kafka-clients-3.7.1.jar": "",
		"wrapper": "#!/bin/sh\nexport KAFKA_OPTS=-Dx=y\nexec " + dir + "/kafka/bin/kafka-server-start.sh /etc/kafka/server.properties\n",
		"hidden":  "#!/bin/sh\nexec " + dir + "/kafka/bin/kafka-server-start.sh $(find / -name server.properties) --override \"$(cat x)\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := dir + "/kafka"
	for _, c := range []struct {
		name string
		argv []string
		more func(*Setup)
		want KafkaStart
		err  string
	}{
		{"the script", []string{home + "/bin/kafka-server-start.sh", "/etc/kafka/server.properties"}, nil, KafkaStart{Home: home, Direct: true}, ""},
		{
			"with overrides",
			[]string{home + "/bin/kafka-server-start.sh", "/etc/s", "--override", "node.id=1", "--override=a=b"},
			nil,
			KafkaStart{Home: home, Overrides: []string{"node.id=1", "a=b"}, Direct: true},
			"",
		},
		{
			"from a variable",
			[]string{"${KAFKA_HOME}/bin/kafka-server-start.sh", "/etc/s"},
			func(u *Setup) { u.Environment = []string{"KAFKA_HOME=" + home} },
			KafkaStart{Home: home, Direct: true},
			"",
		},
		{
			"Java itself",
			[]string{"/usr/bin/java", "-Xmx1g", "-Djava.security.auth.login.config=/etc/j", "-cp", "/etc/kafka:" + dir + "/jars/*", "kafka.Kafka", "/etc/s"},
			nil,
			KafkaStart{Home: dir + "/jars", Direct: true, Java: "/usr/bin/java", Options: []string{"-Djava.security.auth.login.config=/etc/j"}},
			"",
		},
		{
			"Java with an option that is not known",
			[]string{"java", "${OPTIONS}", "-cp", dir + "/jars/*", "kafka.Kafka", "/etc/s"},
			func(u *Setup) { u.EnvironmentFiles = []string{dir} },
			KafkaStart{Home: dir + "/jars"},
			"",
		},
		{"a script in between", []string{dir + "/wrapper"}, nil, KafkaStart{Home: home}, ""},
		{"another class path", []string{"/usr/bin/java", "-cp", "@file", "kafka.Kafka", "/etc/s"}, nil, KafkaStart{}, "where /usr/bin/java finds Kafka cannot be seen"},
		{"a word that is not known", []string{dir + "/hidden"}, nil, KafkaStart{}, "a word of its command line cannot be seen"},
		{"no broker", []string{"/bin/sleep", "9"}, nil, KafkaStart{}, "0 commands of its unit start a broker"},
		{"a root of its own", []string{home + "/bin/kafka-server-start.sh", "/etc/s"}, func(u *Setup) { u.RootDirectory = "/srv" }, KafkaStart{}, "RootDirectory="},
	} {
		u := Setup{Execs: []Exec{{"ExecStart", c.argv}}}
		if c.more != nil {
			c.more(&u)
		}
		got, err := u.KafkaStart()
		if d := cmp.Diff(c.want, got); d != "" || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v\n%s", c.name, err, d)
		}
	}
}

func TestRunOnce(t *testing.T) {
	for _, c := range []struct {
		name, result string
		refusal      *dbus.Error
		want         string
	}{
		{"done", "done", nil, ""},
		{"failed", "failed", nil, `start other.service: systemd ended the job with "failed"; see`},
		{"not permitted", "", &dbus.Error{Name: "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", Body: []any{"no"}}, "start other.service: not permitted (no); run `kpls-agent setup`"},
		{"masked", "", &dbus.Error{Name: "org.freedesktop.systemd1.UnitMasked", Body: []any{"Unit other.service is masked."}}, "start other.service: Unit other.service is masked."},
	} {
		p := newPeer(t)
		s, _ := newSystemd(t, p)
		p.restart = func(*peer) (string, *dbus.Error) { return c.result, c.refusal }
		err := s.RunOnce(t.Context(), "other.service")
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
