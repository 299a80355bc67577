package unit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJava: the Java of the process and of the next start, as the process and the unit show them. The start of Kafka's
// scripts is that of kafka-run-class.sh of 3.7.1 and 4.4.0: "$JAVA_HOME/bin/java", else `java`.
func TestJava(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, version := range map[string]string{"jdk17": "17.0.15", "jdk25": "25.0.3"} {
		write(name+"/bin/java", "", 0o755)
		write(name+"/release", "IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\""+version+"\"\nLIBC=\"gnu\"\n", 0o644)
	}
	write("jdk8/jre/bin/java", "", 0o755)
	write("jdk8/release", `JAVA_VERSION="1.8.0_392"`, 0o644)
	write("bare/bin/java", "", 0o755)
	write("odd/bin/java", "", 0o755)
	write("odd/release", "JAVA_VERSION=\n", 0o644)
	for link, target := range map[string]string{"usr/java": "../jdk25/bin/java", "latest": "jdk17", "usr/java-of-home": "../latest/bin/java"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	const start = "/opt/kafka/bin/kafka-server-start.sh DIR/server.properties\n"
	write("env", "JAVA_HOME=DIR/jdk25\n", 0o644)
	write("export", "#!/bin/sh\nexport JAVA_HOME=DIR/jdk25\nexec "+start, 0o755)
	write("path", "#!/bin/sh\nPATH=DIR/jdk17/bin:/bin\nexec nice -n 5 "+start, 0o755)
	write("branch", "#!/bin/sh\nif [ -d DIR/jdk25 ]; then JAVA_HOME=DIR/jdk25; export JAVA_HOME; fi\nexec "+start, 0o755)
	write("twice", "#!/bin/sh\nJAVA_HOME=DIR/jdk17\nJAVA_HOME=DIR/jdk25\nexport JAVA_HOME\nexec "+start, 0o755)
	write("asked", "#!/bin/sh\nexport JAVA_HOME=$(dirname DIR/jdk25/bin)\nexec "+start, 0o755)
	write("before", "#!/bin/sh\nJAVA_HOME=DIR/jdk25 "+start, 0o755)
	write("sources", "#!/bin/sh\n. DIR/env\nexec "+start, 0o755)
	write("other-branch", "#!/bin/sh\nif [ -f x ]; then HEAP=1; fi\nexec "+start, 0o755)

	const none = "no process"
	for _, c := range []struct {
		name, unit string
		process    Process // its Argv in front of Kafka's class; none without
		runs, next string  // PROGRAM VERSION, or a part of why it cannot be seen
	}{
		{name: "JAVA_HOME of the unit", unit: "Environment=JAVA_HOME=DIR/jdk17\nExecStart=" + start, next: "DIR/jdk17/bin/java 17.0.15"},
		{name: "JAVA_HOME is a link", unit: "Environment=JAVA_HOME=DIR/latest\nExecStart=" + start, next: "DIR/latest/bin/java 17.0.15"},
		{name: "JAVA_HOME of a file", unit: "Environment=JAVA_HOME=DIR/jdk17\nEnvironmentFile=DIR/env\nExecStart=" + start, next: "DIR/jdk25/bin/java 25.0.3"},
		{name: "JAVA_HOME of a file that cannot be read", unit: "Environment=JAVA_HOME=DIR/jdk17\nEnvironmentFile=/\nExecStart=" + start, next: "cannot be seen (EnvironmentFile=/ cannot be read by this user)"},
		{name: "PATH of the unit", unit: "Environment=PATH=/nowhere:DIR/usr:DIR/jdk17/bin\nExecStart=" + start, next: "DIR/usr/java 25.0.3"},
		{name: "no java in PATH", unit: "Environment=PATH=DIR\nExecStart=" + start, next: "there is no java in DIR"},
		{name: "java of the unit", unit: "Environment=JAVA_HOME=DIR/jdk25\nExecStart=DIR/jdk17/bin/java -Xmx1g kafka.Kafka DIR/server.properties", next: "DIR/jdk17/bin/java 17.0.15"},
		{name: "java by PATH", unit: "Environment=JAVA_HOME=DIR/jdk25\nEnvironment=PATH=DIR/jdk17/bin\nExecStart=/bin/sh -c 'exec java kafka.Kafka DIR/server.properties'", next: "DIR/jdk17/bin/java 17.0.15"},
		{name: "through a link", unit: "ExecStart=DIR/usr/java-of-home kafka.Kafka DIR/server.properties", next: "DIR/usr/java-of-home 17.0.15"},
		{name: "Java 8", unit: "ExecStart=DIR/jdk8/jre/bin/java kafka.Kafka DIR/server.properties", next: "DIR/jdk8/jre/bin/java 1.8.0_392"},
		{name: "without a release file", unit: "ExecStart=DIR/bare/bin/java kafka.Kafka DIR/server.properties", next: "DIR/bare/release: no such file"},
		{name: "a release file without a version", unit: "ExecStart=DIR/odd/bin/java kafka.Kafka DIR/server.properties", next: "DIR/odd/release: it has no JAVA_VERSION"},
		{name: "not there", unit: "Environment=JAVA_HOME=DIR/gone\nExecStart=" + start, next: "DIR/gone/bin/java: no such file"},
		{name: "exported by a wrapper", unit: "Environment=JAVA_HOME=DIR/jdk17\nExecStart=DIR/export", next: "DIR/jdk25/bin/java 25.0.3"},
		{name: "PATH of a wrapper", unit: "ExecStart=DIR/path", next: "DIR/jdk17/bin/java 17.0.15"},
		{name: "a wrapper that sets something else in a branch", unit: "Environment=JAVA_HOME=DIR/jdk17\nExecStart=DIR/other-branch", next: "DIR/jdk17/bin/java 17.0.15"},
		{name: "in a branch of a wrapper", unit: "Environment=JAVA_HOME=DIR/jdk17\nExecStart=DIR/branch", next: "by what only a run of it would show"},
		{name: "twice in a wrapper", unit: "ExecStart=DIR/twice", next: "by what only a run of it would show"},
		{name: "by a command of a wrapper", unit: "ExecStart=DIR/asked", next: "by what only a run of it would show"},
		{name: "for one command", unit: "ExecStart=DIR/before", next: "by what only a run of it would show"},
		{name: "by another file", unit: "ExecStart=DIR/sources", next: "reads another file"},
		{name: "by env", unit: "ExecStart=/usr/bin/env JAVA_HOME=DIR/jdk25 " + start, next: "/usr/bin/env may change the environment"},
		{name: "a program of the house", unit: "ExecStart=/opt/house/broker", next: "which command of the unit starts Kafka cannot be seen"},
		{name: "a launcher with Kafka's class", unit: "ExecStart=/opt/house/launch kafka.Kafka DIR/server.properties", next: "how /opt/house/launch finds its Java is not known"},
		{name: "other files for the unit", unit: "BindPaths=/x:DIR/jdk17\nExecStart=DIR/jdk17/bin/java kafka.Kafka DIR/server.properties", next: "a view of its own"},
		{
			name: "runs by its path", unit: "Environment=JAVA_HOME=DIR/jdk25\nExecStart=" + start, process: Process{Argv: []string{"DIR/jdk17/bin/java"}},
			runs: "by name DIR/jdk17/bin/java 17.0.15", next: "DIR/jdk25/bin/java 25.0.3",
		},
		{
			name: "runs by its name", unit: "Environment=JAVA_HOME=DIR/jdk25\nExecStart=" + start, process: Process{Argv: []string{"java"}},
			runs: "only root can see", next: "DIR/jdk25/bin/java 25.0.3",
		},
		{
			name: "runs, and its program can be seen", unit: "Environment=JAVA_HOME=DIR/jdk25\nExecStart=" + start, process: Process{Argv: []string{"java"}, Program: "DIR/jdk17/bin/java"},
			runs: "DIR/jdk17/bin/java 17.0.15", next: "DIR/jdk25/bin/java 25.0.3",
		},
		{
			name: "runs what was replaced", unit: "Environment=JAVA_HOME=DIR/jdk25\nExecStart=" + start, process: Process{Argv: []string{"DIR/jdk17/bin/java"}, Program: "DIR/jdk17/bin/java (deleted)"},
			runs: "DIR/jdk17/bin/java was removed or replaced", next: "DIR/jdk25/bin/java 25.0.3",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			local := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
			p := Picture{Setup: unitOf(t, local(c.unit)), State: "active"}
			if len(c.process.Argv) > 0 {
				argv := local(c.process.Argv[0]) + " -Xmx1g kafka.Kafka " + dir + "/server.properties"
				p.Processes = []Process{{PID: 100, Group: "/system.slice/" + testUnit, Argv: strings.Fields(argv), Program: local(c.process.Program)}}
			}
			runs, next := p.Java(Broker{Properties: filepath.Join(dir, "server.properties")})
			said := func(j Java) string {
				switch {
				case j == Java{}:
					return none
				case j.ByName && j.Version != "":
					return "by name " + j.Program + " " + j.Version
				case j.Version != "" && j.Unseen == "":
					return j.Program + " " + j.Version
				}
				return j.Unseen
			}
			for j, want := range map[Java]string{runs: or(c.runs, none), next: c.next} {
				if got := said(j); got != local(want) && (j.Unseen == "" || !strings.Contains(got, local(want))) {
					t.Errorf("%q, want %q", got, local(want))
				}
			}
			// As root writes it down for the service.
			root := p
			root.EnvironmentFiles = append(root.EnvironmentFiles, "/no/such/file") // is one that may be hidden
			p.Seen = root.Write(func(string) bool { return true })
			p.EnvironmentFiles = append(p.EnvironmentFiles, "/")
			p.Seen.Shape = p.Shape()
			if _, again := p.Java(Broker{Properties: filepath.Join(dir, "server.properties")}); again != next && !strings.Contains(next.Unseen, "(EnvironmentFile=") && !strings.HasPrefix(next.Unseen, "which command") {
				t.Errorf("by what root wrote down %+v, want %+v", again, next)
			}
		})
	}
}
