package judge

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

var update = flag.Bool("update", false, "write KplsJudge.class")

// oldest is the Kafka whose classes the judge is compiled with; what differs in later ones it finds by itself.
const oldest = "3.7.1"

// TestClass compiles the class and compares it with what is embedded. The same javac makes the same bytes.
func TestClass(t *testing.T) {
	libs, err := sandbox.Libs(t.Context(), oldest)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "javac", "--release", "8", "-g:none", "-Xlint:-options", "-Werror",
		"-cp", filepath.Join(libs, "*"), "-d", dir, "java/KplsJudge.java").CombinedOutput()
	if err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	made, err := os.ReadFile(filepath.Join(dir, className+".class"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(className+".class", made, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(made, class) {
		t.Errorf("%s.class is not what javac makes of its source (%d and %d bytes): go test ./internal/judge -run TestClass -update",
			className, len(class), len(made))
	}
}

// base is a combined node with a listener EXTERNAL.
func base(protocol string, more ...string) string {
	return strings.Join(slices.Concat([]string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@127.0.0.1:9093",
		"controller.listener.names=CONTROLLER", "inter.broker.listener.name=INTERNAL", "log.dirs=/tmp/none",
		"listeners=INTERNAL://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093,EXTERNAL://127.0.0.1:9094",
		"advertised.listeners=INTERNAL://127.0.0.1:9092,EXTERNAL://b1.example.com:9094",
		"listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:" + protocol,
	}, more), "\n") + "\n"
}

const (
	prefix = "listener.name.external."
	scram  = prefix + "sasl.enabled.mechanisms=SCRAM-SHA-512"
	entry  = prefix + "scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
	module = "org.apache.kafka.common.security.plain.PlainLoginModule"
	secret = "Gr4ndCanyon"
)

func tls(store, password string) string {
	return strings.Join([]string{
		prefix + "ssl.keystore.location=" + store, prefix + "ssl.keystore.type=PKCS12",
		prefix + "ssl.keystore.password=" + password, prefix + "ssl.key.password=" + password,
	}, "\n")
}

// sample is a file, and what a Kafka says of it. refused and unjudged are parts of the texts; empty is none.
type sample struct {
	name, file        string
	refused, unjudged string
	line              string // the begin of the line that is named
	since             string // the first version that refuses it; empty: all
	brief             bool   // asked of every version
	environment       []string
}

func samples(t *testing.T) []sample {
	dir := t.TempDir()
	store, jaas := filepath.Join(dir, "broker.p12"), filepath.Join(dir, "jaas.conf")
	if out, err := exec.CommandContext(t.Context(), "keytool", "-genkeypair", "-alias", "b", "-keyalg", "EC", "-keystore", store,
		"-storetype", "PKCS12", "-storepass", secret, "-dname", "CN=broker", "-ext", "san=dns:localhost").CombinedOutput(); err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	if err := os.WriteFile(jaas, []byte("KafkaServer { "+module+" required user_a=\""+secret+"\"; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"KAFKA_OPTS="}
	return []sample{
		{name: "plain", file: base("PLAINTEXT")},
		{name: "TLS", file: base("SSL", tls(store, secret))},
		{name: "SCRAM", file: base("SASL_PLAINTEXT", scram, entry), environment: good},
		{name: "SCRAM over TLS", brief: true, file: base("SASL_SSL", tls(store, secret), scram, entry), environment: good},
		{
			name: "an entry in the options' file", file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=PLAIN"),
			environment: []string{"KAFKA_OPTS=-javaagent:/none.jar=7071 -Djava.security.auth.login.config=" + jaas},
		},
		{
			name: "agents and ports of the broker's own Java", file: base("PLAINTEXT"),
			environment: []string{
				"KAFKA_OPTS=-javaagent:/none.jar=7071:/none.yaml -Dx=y", "JMX_PORT=9999", "KAFKA_HEAP_OPTS=-Xmx64g -Xms64g",
				"JAVA_TOOL_OPTIONS=-agentpath:/none.so -Xlog:gc:/none/gc.log",
			},
		},

		{name: "no key store", file: base("SSL", tls(store+".none", secret)), refused: "NoSuchFileException", line: prefix + "ssl.keystore.location"},
		{name: "another password", brief: true, file: base("SSL", tls(store, "Wr0ngCanyon")), refused: "password was incorrect", line: prefix + "ssl.keystore.location"},
		{
			name: "client.auth mistyped", brief: true, file: base("SSL", tls(store, secret), prefix+"ssl.client.auth=requierd"),
			refused: "requierd", line: prefix + "ssl.client.auth",
		},
		{name: "no entry", brief: true, file: base("SASL_PLAINTEXT", scram), refused: "JAAS", line: prefix + "sasl.enabled", environment: good},
		{name: "no entry, options unknown", file: base("SASL_PLAINTEXT", scram), unjudged: "not known here"},
		{
			name: "a mechanism that has no entry", file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=SCRAM-SHA-521", entry),
			refused: "JAAS", environment: good,
		},
		{
			name: "an entry without its end", refused: "semi-colon",
			file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=PLAIN", prefix+"plain.sasl.jaas.config="+module+" required user_a=\""+secret+"\""),
		},
		{
			name: "login module mistyped", refused: "PlainLoginModul ",
			file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=PLAIN", prefix+"plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModul required;"),
		},
		{
			name: "an entry with its quotes lost", refused: "JAAS",
			file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=PLAIN", prefix+"plain.sasl.jaas.config="+module+" "+secret+" user_a;"),
		},
		{name: "principal builder", file: base("PLAINTEXT", prefix+"principal.builder.class=com.example.None"), refused: "com.example.None", line: prefix + "principal"},
		{name: "principal builder of another kind", file: base("PLAINTEXT", prefix+"principal.builder.class=java.lang.String"), refused: "is no org.apache.kafka"},
		{name: "reporter", file: base("PLAINTEXT", "metric.reporters=com.example.Reporter"), refused: "com.example.Reporter", line: "metric.reporters"},
		{name: "authorizer", file: base("PLAINTEXT", "authorizer.class.name=com.example.Auth"), refused: "com.example.Auth", line: "authorizer"},
		{name: "handler", file: base("SASL_PLAINTEXT", scram, entry, prefix+"scram-sha-512.sasl.server.callback.handler.class=com.example.H"), refused: "com.example.H", environment: good},
		{name: "a number with a comment", brief: true, file: base("PLAINTEXT", "num.io.threads=8 # tuned"), refused: "Not a number", line: "num.io.threads"},
		{name: "an empty mechanism", brief: true, file: base("SASL_PLAINTEXT", scram+",", entry, "listener.name.external..sasl.jaas.config="+module+" required;"), refused: "must not be empty", line: prefix + "sasl.enabled", since: "4.2", environment: good},

		{
			name: "Kerberos", brief: true, unjudged: "GSSAPI", environment: good,
			file: base("SASL_PLAINTEXT", scram+",GSSAPI", entry, prefix+"gssapi.sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required;"),
		},
		{
			name: "keys from the network", unjudged: "over the network", environment: good,
			file: base("SASL_PLAINTEXT", prefix+"sasl.enabled.mechanisms=OAUTHBEARER",
				prefix+"oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
				prefix+"sasl.oauthbearer.jwks.endpoint.url=https://idp.example.com/jwks"),
		},
		{
			name: "a provider of others", unjudged: "com.example.Vault",
			file: base("PLAINTEXT", "config.providers=v", "config.providers.v.class=com.example.Vault", "num.io.threads=${v:x}"),
		},
	}
}

// TestSamples asks the real Kafka of several versions: the first and the last one all, those between what they might do in
// another way.
func TestSamples(t *testing.T) {
	list := samples(t)
	for version, whole := range map[string]bool{oldest: true, "3.9.2": false, "4.1.2": false, "4.2.2": false, "4.4.0": true} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			libs, err := sandbox.Libs(t.Context(), version)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if !whole && !c.brief {
					continue
				}
				k := Kafka{Home: libs, Environment: append([]string{"PATH=" + os.Getenv("PATH")}, c.environment...)}
				got, err := Judge(t.Context(), k, "server.properties", []byte(c.file))
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				if got.Kafka != version {
					t.Errorf("%s: Kafka says it is %q", c.name, got.Kafka)
				}
				want := c.refused
				if version < c.since { // of versions with one digit each
					want = ""
				}
				hold(t, c.name+": refused", got.Refused, want)
				hold(t, c.name+": unjudged", got.Unjudged, c.unjudged)
				if c.line != "" && want != "" {
					lines := strings.Split(c.file, "\n")
					if n := got.Refused[0].Line; n == 0 || !strings.HasPrefix(lines[n-1], c.line) {
						t.Errorf("%s: names line %d, want that of %s: %v", c.name, n, c.line, got.Refused)
					}
				}
				if text := fmt.Sprint(got); strings.Contains(text, "Canyon") {
					t.Errorf("%s: a secret is shown: %s", c.name, text)
				}
			}
		})
	}
}

// hold compares remarks with a part of their text, or with none.
func hold(t *testing.T, what string, got []Remark, want string) {
	t.Helper()
	switch text := fmt.Sprint(got); {
	case want == "" && len(got) > 0:
		t.Errorf("%s: %s, want nothing", what, text)
	case want != "" && !strings.Contains(text, want):
		t.Errorf("%s: %s, want %q", what, text, want)
	}
}

// TestRunClass: where Kafka has its own script, that makes the class path, and has options in the variables that it
// reads. The stand-in is as short as it can be; bin/kafka-run-class.sh of 3.7.1 and of 4.0 were tried by hand, with the
// same verdicts.
func TestRunClass(t *testing.T) {
	libs, err := sandbox.Libs(t.Context(), oldest)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nset -e\n[ -z \"$JMX_PORT\" ]\n[ -d \"$LOG_DIR\" ]\n" +
		"exec java $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS $KAFKA_JMX_OPTS -cp \"$CLASSPATH:" + libs + "/*\" $KAFKA_OPTS \"$@\"\n"
	if err := os.WriteFile(filepath.Join(home, "bin/kafka-run-class.sh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	k := Kafka{Home: home, Environment: []string{
		"PATH=" + os.Getenv("PATH"), "JMX_PORT=9999", "LOG_DIR=/none", "KAFKA_OPTS=-javaagent:/none.jar -Dx=y", "CLASSPATH=/none",
	}}
	for file, refused := range map[string]string{
		base("PLAINTEXT"): "", base("PLAINTEXT", "num.io.threads=x"): "num.io.threads",
	} {
		got, err := Judge(t.Context(), k, "server.properties", []byte(file))
		if err != nil || got.Kafka != oldest {
			t.Errorf("%+v, %v", got, err)
		}
		hold(t, "refused", got.Refused, refused)
	}
}

// TestNoVerdict: whatever keeps Java from answering is an error, and no refusal.
func TestNoVerdict(t *testing.T) {
	libs, err := sandbox.Libs(t.Context(), oldest)
	if err != nil {
		t.Fatal(err)
	}
	file := []byte(base("PLAINTEXT"))
	empty := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := []struct {
		name string
		ctx  context.Context
		k    Kafka
		want string
	}{
		{"no Kafka", t.Context(), Kafka{Home: empty}, "is no Kafka"},
		{"no Java", t.Context(), Kafka{Home: libs, Environment: []string{"JAVA_HOME=" + empty}}, "no such file"},
		{"an option that Java refuses", t.Context(), Kafka{Home: libs, Environment: []string{"KAFKA_OPTS=-Xnone"}}, "Program will exit"},
		{"no time", ended, Kafka{Home: libs}, "context canceled"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if v, err := Judge(c.ctx, c.k, "server.properties", file); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want %q", v, err, c.want)
			}
		})
	}
}
