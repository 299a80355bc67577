package judge

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/unit"
)

// Kafka is an installed Kafka, and how its broker is started.
type Kafka struct {
	// Home is its folder: of its distribution, with bin and libs, or of its jars alone.
	Home string
	// Environment is the broker's own, KEY=VALUE. With KAFKA_OPTS in it, if only empty, all options of the broker's
	// Java are known.
	Environment []string
	// Overrides are KEY=VALUE of the broker's command line, which beat the file.
	Overrides []string
}

// Limit bounds one judgement: a JVM on a busy machine with two cores has taken 10 s.
const Limit = time.Minute

const className = "KplsJudge"

//go:generate javac --release 8 -g:none -Xlint:-options -cp ${KAFKA_LIBS}/* -d . java/KplsJudge.java

//go:embed KplsJudge.class
var class []byte

// Judge asks a Kafka what it would refuse of a server.properties; path is for messages. An error means that there is no
// verdict: it is no refusal. It takes a second or two of one core, at most 256 MiB, and at most Limit.
func Judge(ctx context.Context, k Kafka, path string, file []byte) (_ Verdict, err error) {
	p, err := config.ReadProperties(path, file)
	if err != nil {
		return Verdict{}, err
	}
	dir, err := os.MkdirTemp("", "kpls-judge-")
	if err != nil {
		return Verdict{}, fmt.Errorf("make a folder for the judge: %w; set TMPDIR to one that this user may write", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	candidate := filepath.Join(dir, "server.properties")
	for name, data := range map[string][]byte{filepath.Join(dir, className+".class"): class, candidate: file} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return Verdict{}, fmt.Errorf("write for the judge: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	cmd, err := k.command(dir, append([]string{candidate}, k.Overrides...))
	if err != nil {
		return Verdict{}, err
	}
	out, err := unit.Output(ctx, cmd)
	if ctx.Err() != nil {
		return Verdict{}, fmt.Errorf("run Kafka of %s: no verdict within %s: %w", k.Home, Limit, ctx.Err())
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("run Kafka of %s: %s", k.Home, mask(err.Error(), p.Secrets()))
	}
	return read(out, p, knowsOptions(k.Environment))
}

// own are Java's options for the judge: little memory, a quick start, no file of its own, and a network that is not
// there.
var own = []string{
	"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dhttp.proxyHost=127.0.0.1", "-Dhttp.proxyPort=9",
	"-Dhttps.proxyHost=127.0.0.1", "-Dhttps.proxyPort=9", "-Dhttp.nonProxyHosts=",
}

// command runs the class in dir on Kafka's class path, as its own script makes that, where there is one.
func (k Kafka) command(dir string, args []string) (unit.Command, error) {
	env := environment(k.Environment)
	if value(env, "PATH") == "" {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	env = append(env, "LOG_DIR="+dir, "KAFKA_HEAP_OPTS=-Xmx192m", "KAFKA_JMX_OPTS= ",
		"KAFKA_JVM_PERFORMANCE_OPTS="+strings.Join(own, " "))
	var argv []string
	script, err := k.script()
	if err != nil {
		return unit.Command{}, err
	}
	if script != "" {
		env = append(env, "CLASSPATH="+classPath(dir, value(env, "CLASSPATH")))
		argv = append([]string{script, className}, args...)
	} else {
		jars, err := k.jars()
		if err != nil {
			return unit.Command{}, err
		}
		java := "java"
		if home := value(env, "JAVA_HOME"); home != "" {
			java = filepath.Join(home, "bin", "java")
		}
		argv = slices.Concat([]string{java, "-Xmx192m"}, own, strings.Fields(value(env, "KAFKA_OPTS")),
			[]string{"-cp", classPath(dir, jars), className}, args)
	}
	return unit.Command{Argv: argv, Env: env, Dir: dir}, nil
}

// script is kafka-run-class of this Kafka, or "".
func (k Kafka) script() (string, error) {
	for _, name := range []string{"bin/kafka-run-class.sh", "bin/kafka-run-class"} {
		path := filepath.Join(k.Home, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("look for Kafka: %w", err)
		}
	}
	return "", nil
}

// jars is the folder of Kafka's jars as a class path.
func (k Kafka) jars() (string, error) {
	for _, dir := range []string{filepath.Join(k.Home, "libs"), k.Home} {
		if found, _ := filepath.Glob(filepath.Join(dir, "kafka-clients-*.jar")); len(found) > 0 {
			return filepath.Join(dir, "*"), nil
		}
	}
	return "", fmt.Errorf("%s is no Kafka: it has neither bin/kafka-run-class.sh nor libs/kafka-clients-*.jar; name the folder "+
		"that Kafka was unpacked into", k.Home)
}

func classPath(dir, rest string) string {
	if rest == "" {
		return dir
	}
	return dir + string(os.PathListSeparator) + rest
}
