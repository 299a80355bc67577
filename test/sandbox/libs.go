package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultVersion is the Kafka version of the published procedure.
const DefaultVersion = "3.7.1"

// Version is the Kafka version that the environment asks for by KAFKA_VERSION,
// or DefaultVersion.
func Version() string {
	if v := os.Getenv("KAFKA_VERSION"); v != "" {
		return v
	}
	return DefaultVersion
}

// Logging back ends, which Kafka's own poms leave to its distribution.
const (
	log4j1Deps = `
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
  <dependency><groupId>ch.qos.reload4j</groupId><artifactId>reload4j</artifactId><version>1.2.25</version></dependency>`
	log4j2Deps = `
  <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.1</version></dependency>
  <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.1</version></dependency>`
)

// Log configurations, found on the class path. They write to standard error, so
// that the output of Kafka's command line tools stays free of log lines.
const (
	log4j1Config = `log4j.rootLogger=INFO, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=[%d] %p %m (%c)%n
`
	log4j2Config = `rootLogger.level=info
rootLogger.appenderRef.stderr.ref=STDERR
appender.stderr.type=Console
appender.stderr.name=STDERR
appender.stderr.target=SYSTEM_ERR
appender.stderr.layout.type=PatternLayout
appender.stderr.layout.pattern=[%d] %p %m (%c)%n
`
)

// pomFormat takes the version twice and the logging back end. connect-runtime is
// needed by two tools only, and would bring Jetty and Jersey.
const pomFormat = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>sandbox</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version></dependency>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>%s</version>
    <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions>
  </dependency>%s
</dependencies></project>
`

// Libs returns the directory that holds the jars of Kafka's broker and command
// line tools of a version (3.x or 4.x), and in its sub-directory config a log
// configuration; ClassPath makes a Java class path of it. The first call fetches
// them from Maven Central into .cache/kafka-VERSION under the module's root, or
// under the directory that KPLS_CACHE names; callers in other processes wait.
func Libs(ctx context.Context, version string) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kafka-"+version)
	if haveLibs(dir, version) {
		return dir, nil
	}
	unlock, err := LockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if haveLibs(dir, version) { // another process was faster
		return dir, nil
	}
	if err := fetchLibs(ctx, dir, version); err != nil {
		return "", fmt.Errorf("fetch Kafka %s into %s: %w", version, dir, err)
	}
	return dir, nil
}

// ClassPath is the Java class path of a directory that Libs returned.
func ClassPath(libs string) string {
	return filepath.Join(libs, "config") + string(os.PathListSeparator) + filepath.Join(libs, "*")
}

// CacheDir is where fetched files are kept between runs, by a path without symbolic links: a class archive notes
// paths, and several checkouts may have one cache.
func CacheDir() (string, error) {
	dir := os.Getenv("KPLS_CACHE")
	if dir == "" {
		root, err := ModuleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) { // nothing has been fetched yet
		return dir, nil
	}
	return resolved, err
}

// ModuleRoot is the next directory upwards that holds a go.mod.
func ModuleRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf(
				"find the cache directory: no go.mod above %s; run inside the module or set KPLS_CACHE", wd)
		}
	}
}

// haveLibs is true when the directory is complete: it is renamed into place at the end.
func haveLibs(dir, version string) bool {
	_, err := os.Stat(filepath.Join(dir, "kafka_2.13-"+version+".jar"))
	return err == nil
}

// fetchLibs runs Maven into a directory next to dir and renames that to dir.
func fetchLibs(ctx context.Context, dir, version string) error {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf(
				"%s is not installed; Debian and Ubuntu have both tools: apt-get install default-jdk-headless maven",
				tool)
		}
	}
	backend, logName, logConfig := log4j1Deps, "log4j.properties", log4j1Config
	if !strings.HasPrefix(version, "3.") {
		backend, logName, logConfig = log4j2Deps, "log4j2.properties", log4j2Config
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := os.Chmod(part, 0o755); err != nil {
		return err
	}
	pom := filepath.Join(part, "config", "pom.xml")
	err = errors.Join(
		os.Mkdir(filepath.Dir(pom), 0o755),
		os.WriteFile(pom, fmt.Appendf(nil, pomFormat, version, version, backend), 0o600),
		os.WriteFile(filepath.Join(part, "config", logName), []byte(logConfig), 0o644),
	)
	if err != nil {
		return err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-C", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+part)
	if out, err := mvn.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w; Maven must reach Maven Central, or hold the jars in its local repository\n%s", mvn,
			err, out)
	}
	if !haveLibs(part, version) {
		return fmt.Errorf("%s: no kafka_2.13-%s.jar came", mvn, version)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// LockFile takes an exclusive lock that other processes respect and that ends with this process.
func LockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
