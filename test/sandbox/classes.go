package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// jvmFlags spare the time of the optimising compiler and the memory of a parallel
// collector. What the JVM has to say goes to standard error.
var jvmFlags = []string{
	"-XX:TieredStopAtLevel=1",
	"-XX:+UseSerialGC",
	"-XX:+ExitOnOutOfMemoryError",
	"-Djava.awt.headless=true",
	"-Xlog:disable",
	"-Xlog:all=warning:stderr",
}

// release is a version of Kafka on this machine: what Libs and classArchive returned.
// Without an archive its brokers take twice the time to start.
type release struct{ libs, archive string }

// jvm is what java is given before the class: flags, class path and log configuration.
// There is no directory on the class path, since such a one cannot be archived.
func jvm(heap string, r release) []string {
	args := append([]string{"-Xmx" + heap}, jvmFlags...)
	if r.archive != "" {
		args = append(args, "-XX:SharedArchiveFile="+r.archive)
	}
	return append(args,
		"-Dlog4j.configuration=file:"+filepath.Join(r.libs, "config", "log4j.properties"),
		"-Dlog4j2.configurationFile="+filepath.Join(r.libs, "config", "log4j2.properties"),
		"-cp", filepath.Join(r.libs, "*"))
}

// classArchive returns a file with the classes of a broker as the JVM has them in
// memory (dynamic class data sharing, JEP 350), for Kafka of a directory that Libs
// returned. It is made where there is none that fits, by a broker that starts and ends; other
// processes wait for it. It is empty where this Java makes none.
func classArchive(ctx context.Context, libs string, logf func(string, ...any)) (string, error) {
	path := libs + ".jsa"
	unlock, err := LockFile(libs + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() > 0 && !fits(ctx, libs, path) {
		logf("sandbox: archiving Kafka's classes, so brokers start in half the time (once, some 10 s)")
		if err := archiveClasses(ctx, libs, path); err != nil {
			return "", fmt.Errorf("archive Kafka's classes: %w", err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return "", err
	}
	if info.Size() == 0 {
		return "", nil
	}
	return path, nil
}

// fits is true if Java takes an archive. It does not if a jar has another path, size or time than when the archive was
// made, or if Java is another one: then brokers start without it, at half the speed, and only a warning says so.
func fits(ctx context.Context, libs, archive string) bool {
	args := append([]string{"-Xshare:on"}, jvm("128m", release{libs: libs, archive: archive})...)
	return exec.CommandContext(ctx, "java", append(args, "-version")...).Run() == nil
}

// archiveClasses makes the file, an empty one if this Java makes none that it takes.
func archiveClasses(ctx context.Context, libs, path string) error {
	dir, err := os.MkdirTemp("", "kpls-classes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	broker, controller, err := twoPorts(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "server.properties")
	err = os.WriteFile(file, fmt.Appendf(nil, `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s
`, broker, controller, filepath.Join(dir, "data")), 0o600)
	if err != nil {
		return err
	}
	format := exec.CommandContext(
		ctx,
		"java",
		append(jvm("128m", release{libs: libs}), "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", file)...)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	made := filepath.Join(dir, "classes.jsa")
	args := append([]string{"-XX:ArchiveClassesAtExit=" + made}, jvm("256m", release{libs: libs})...)
	if err := startAndEnd(exec.CommandContext(ctx, "java", append(args, "kafka.Kafka", file)...)); err != nil {
		return err
	}
	var archive []byte
	if fits(ctx, libs, made) {
		if archive, err = os.ReadFile(made); err != nil {
			return err
		}
	}
	part := path + ".part"
	if err := os.WriteFile(part, archive, 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// startAndEnd runs a broker until it says that it has started, and then has it end.
func startAndEnd(java *exec.Cmd) error {
	java.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := java.StderrPipe()
	if err != nil {
		return err
	}
	if err := java.Start(); err != nil {
		return err
	}
	var last string
	started := false
	for lines := bufio.NewScanner(log); lines.Scan(); {
		last = lines.Text()
		if !started && strings.Contains(last, "Kafka Server started") {
			started = true
			_ = java.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		}
	}
	if err := java.Wait(); !started {
		return fmt.Errorf("a broker did not start: %w; its last words: %s", err, last)
	}
	return nil // Java ends with 143 after SIGTERM
}

// twoPorts returns two free addresses of this machine.
func twoPorts(ctx context.Context) (one, two string, err error) {
	var lc net.ListenConfig
	a, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer a.Close()
	b, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer b.Close()
	return a.Addr().String(), b.Addr().String(), nil
}
