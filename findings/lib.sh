# shellcheck shell=bash
# Shared by the scripts in this folder, which source it: a temp folder that is removed
# at the end, small machines with a systemd of their own, Kafka's jars from Maven Central.
#
# FINDINGS_CACHE may name a folder that keeps images and jars between runs.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/var/tmp}/finding.XXXXXX")
cache=${FINDINGS_CACHE:-$work/cache}
mkdir -p "$cache"
machines=() # names of the machines that were booted
children=() # other processes to end

failed=0
say() { printf '%s\n' "$*"; }

# expect NAME WANT GOT: one observation. The script fails at its end if any differs.
expect() {
  if [ "$2" = "$3" ]; then
    say "as found  $1: $3"
  else
    say "CHANGED   $1: $3 (was: $2)"
    failed=1
  fi
}

# finish ends the script: 0 if all is as it was found.
finish() {
  if [ "$failed" = 0 ]; then say "the behaviour is as described above in this file"; fi
  exit "$failed"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      say "gave up waiting for: $*"
      return 1
    fi
    sleep 0.2
  done
}

# need PROGRAM...: ends the script where one is missing.
need() {
  local p
  for p in "$@"; do
    command -v "$p" >/dev/null || { say "this needs $p"; exit 2; }
  done
}

# hierarchies prints the control group trees that a machine needs a group in.
hierarchies() {
  if [ -e /sys/fs/cgroup/cgroup.procs ]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; fi
}

# image SUITE PACKAGE...: sets $image to a root file system of that Debian release.
image() {
  need mmdebstrap systemd-nspawn nsenter
  [ "$(id -u)" = 0 ] || { say "this needs root, for a machine with a systemd of its own"; exit 2; }
  local suite=$1 packages sum
  shift
  packages=$(IFS=,; echo "systemd,systemd-sysv,libpam-systemd,dbus,polkitd,passwd,procps${*:+,}$*")
  sum=$(printf '%s' "$suite $packages" | sha256sum)
  image=$cache/image-$suite-${sum:0:12}
  [ -d "$image" ] && return
  mmdebstrap --quiet --variant=apt --include="$packages" "$suite" "$image.part" >"$work/image.log" 2>&1 ||
    { cat "$work/image.log"; exit 2; }
  local timer
  for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
    ln -sf /dev/null "$image.part/etc/systemd/system/$timer.timer"
  done
  mv "$image.part" "$image"
}

# disk NAME: makes the machine's disk, a layer over $image, at $work/NAME/root.
disk() {
  local d=$work/$1
  mkdir -p "$d/upper" "$d/layer" "$d/root"
  mount -t overlay overlay -o "lowerdir=$image,upperdir=$d/upper,workdir=$d/layer" "$d/root"
  machines+=("$1")
  : >"$d/root/etc/machine-id"
  echo "$1" >"$d/root/etc/hostname"
}

# boot NAME [NSPAWN OPTION...]: switches it on, with no network but its loopback, and waits for it.
boot() {
  local name=$1 h
  shift
  (
    for h in $(hierarchies); do
      mkdir -p "$h/finding-$$-$name"
      echo "$BASHPID" >"$h/finding-$$-$name/cgroup.procs"
    done
    status=133 # of a guest that reboots
    while [ "$status" = 133 ]; do
      status=0
      SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --boot --quiet --register=no --keep-unit --private-network \
        --resolv-conf=off --timezone=off --console=pipe -D "$work/$name/root" -M "finding-$$-$name" "$@" || status=$?
    done
  ) >"$work/$name/console" 2>&1 </dev/null &
  echo $! >"$work/$name/pid"
  wait_for 60 up "$name"
}

leader() { # PID 1 of a machine
  local nspawn
  nspawn=$(pgrep -P "$(cat "$work/$1/pid")" systemd-nspawn) && pgrep -P "$nspawn" | head -n 1
}

# inside NAME COMMAND...: as root, in the machine.
inside() {
  local pid
  pid=$(leader "$1") || return
  shift
  nsenter --target "$pid" --all -- "$@" </dev/null
}

up() {
  local state
  state=$(inside "$1" systemctl is-system-running) || true
  [ "$state" = running ] || [ "$state" = degraded ]
}

# off NAME: ends all processes of the machine; its disk stays.
off() {
  local h i
  for h in $(hierarchies); do
    [ ! -e "$h/finding-$$-$1/cgroup.kill" ] || echo 1 >"$h/finding-$$-$1/cgroup.kill"
  done
  { wait "$(cat "$work/$1/pid")" || true; } 2>/dev/null
  for h in $(hierarchies); do
    for i in 1 2 3 4 5 6 7 8 9 10; do
      [ -d "$h/finding-$$-$1" ] || break
      find "$h/finding-$$-$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      sleep "0.$i"
    done
  done
}

# kafka VERSION: sets $libs to a class path of that version's broker and tools.
kafka() {
  need java mvn
  local dir=$cache/kafka-$1
  libs="$dir/*"
  [ -d "$dir" ] && return
  mkdir -p "$work/pom"
  local log='<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.1</version></dependency>'
  case $1 in 3.*) log='<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>' ;; esac
  cat >"$work/pom/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$1</version></dependency>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$1</version>
    <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions>
  </dependency>$log
</dependencies></project>
POM
  mvn -q -B -f "$work/pom/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir.part" >"$work/mvn.log" 2>&1 ||
    { cat "$work/mvn.log"; exit 2; }
  # Log lines go to standard error; each version reads the file of its own library.
  printf '%s\n' 'log4j.rootLogger=INFO, e' 'log4j.appender.e=org.apache.log4j.ConsoleAppender' 'log4j.appender.e.target=System.err' \
    'log4j.appender.e.layout=org.apache.log4j.PatternLayout' 'log4j.appender.e.layout.ConversionPattern=[%d] %p %m (%c)%n' >"$dir.part/log4j.properties"
  printf '%s\n' 'rootLogger.level=info' 'rootLogger.appenderRef.e.ref=E' 'appender.e.type=Console' 'appender.e.name=E' 'appender.e.target=SYSTEM_ERR' \
    'appender.e.layout.type=PatternLayout' 'appender.e.layout.pattern=[%d] %p %m (%c)%n' >"$dir.part/log4j2.properties"
  mv "$dir.part" "$dir"
}

# The class path's folder itself comes first, for the log configuration.
java_kafka() { java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" "$@"; }

# combined DIR PORT [LISTENER=PORT...]: formats a node, broker and controller, with INTERNAL at that port of loopback and
# CONTROLLER at the next one.
combined() {
  local dir=$1 port=$2 more='' map='' l
  shift 2
  for l in "$@"; do
    more+=,${l%=*}://127.0.0.1:${l#*=}
    map+=,${l%=*}:PLAINTEXT
  done
  mkdir "$dir"
  cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=INTERNAL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))$more
advertised.listeners=INTERNAL://127.0.0.1:$port$more
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT$map
log.dirs=$dir/data
PROPERTIES
  java_kafka kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$dir/server.properties" >"$dir/format.log" 2>&1
}

# start DIR: starts such a node, as process $node.
start() {
  (exec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" kafka.Kafka "$1/server.properties") \
    >>"$1/log" 2>&1 &
  node=$!
  children+=("$node")
}

# stop: ends $node.
stop() {
  kill "$node"
  wait "$node" || true
}

cleanup() {
  local m p status=$?
  trap - EXIT
  for p in ${children[@]+"${children[@]}"}; do kill "$p" 2>/dev/null || true; done
  for p in ${children[@]+"${children[@]}"}; do wait "$p" 2>/dev/null || true; done
  for m in ${machines[@]+"${machines[@]}"}; do
    [ ! -e "$work/$m/pid" ] || off "$m"
    umount "$work/$m/root" || umount -l "$work/$m/root"
  done
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
