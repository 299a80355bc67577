#!/usr/bin/env bash
# Question: Kafka's jars are replaced (the folder unpacked again, or the link /opt/kafka switched to
# the new version's folder) while the broker runs, as a rolling upgrade begins. What fails before
# the restart?
# Guesses, written before: nothing; the JVM holds all jars open. Then, when zstd had failed: a
# switched link is just as bad, since the class path has the link's name.
# Seen (Kafka 4.3.1 and 3.7.1 under 4.4.0's jars, Java 17; no compressed record had come before):
#  - The JVM does hold every jar open. But zstd-jni and snappy-java load their native library at the
#    first record of that kind, and read it from the jar *by its path*. A jar of another version has
#    another name: the first zstd record (and snappy, where its version differs) is answered with
#    UNKNOWN_SERVER_ERROR, which clients do not retry. The broker's log has
#    "UnsatisfiedLinkError: no zstd-jni-1.5.6-10 in java.library.path". Without compression, lz4 and
#    gzip work, and so does a clean stop.
#  - It stays so for zstd after the old jars were restored; only a restart ends it.
#  - The link switched, the old folder kept: all works, since the JVM resolved the link at its start.
# What follows: unpack a new version into a folder of its own, switch a link (or the unit) to it, and
# remove the old folder only after the broker was restarted. Who unpacks over the old jars must
# restart each broker right away: otherwise its zstd producers fail, days later, for no visible reason.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

kafka 4.4.0
new=${libs%/\*}

# send CODEC prints ok, or the name of the last exception.
send() {
  local out
  out=$(echo "$1" | java_kafka org.apache.kafka.tools.ConsoleProducer --bootstrap-server "127.0.0.1:$port" --topic t --sync \
    --compression-codec "$1" --command-property linger.ms=0 --command-property delivery.timeout.ms=20000 \
    --command-property request.timeout.ms=10000 2>&1) || true
  out=$(grep -o 'errors\.[A-Za-z]*Exception' <<<"$out" | tail -n 1) || true
  echo "${out:-ok}"
}

# shellcheck disable=SC2317 # wait_for calls it
serves() {
  (exec 3<>"/dev/tcp/127.0.0.1/$port") && java_kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" --create --if-not-exists --topic t
}

# try VERSION HOW WANT: HOW is folder, link (the old folder stays) or link+removed; WANT is
# what a zstd record gets, and a snappy one.
try() {
  kafka "$1"
  local old=${libs%/\*} dir=$work/$1-$2 class_path pid
  libs="$new/*"
  port=$((port + 10))
  mkdir "$dir"
  cp -r "$old" "$dir/old"
  if [ "$2" = folder ]; then mv "$dir/old" "$dir/kafka"; else ln -s "$dir/old" "$dir/kafka"; fi
  cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=INTERNAL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
PROPERTIES
  class_path="$dir/kafka:$dir/kafka/*"
  java -Xmx128m -cp "$class_path" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$dir/server.properties" >"$dir/format.log" 2>&1
  java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$class_path" kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 &
  pid=$!
  children+=("$pid")
  wait_for 60 serves
  expect "$1, before" ok "$(send none)"
  expect "$1, jars that are not open" 0 "$(for jar in "$dir"/kafka/*.jar; do
    find "/proc/$pid/fd" -lname "$(readlink -f "$jar")" | grep -q . || echo "$jar"
  done | wc -l)"
  if [ "$2" = folder ]; then
    rm -r "$dir/kafka"
    cp -r "$new" "$dir/kafka"
  else
    ln -sfn "$new" "$dir/kafka"
    if [ "$2" = link+removed ]; then mv "$dir/old" "$dir/gone"; fi
  fi
  expect "$1, the $2 changed: none" ok "$(send none)"
  expect "$1, the $2 changed: gzip" ok "$(send gzip)"
  expect "$1, the $2 changed: lz4" ok "$(send lz4)"
  expect "$1, the $2 changed: snappy" "$3" "$(send snappy)"
  expect "$1, the $2 changed: zstd" "$3" "$(send zstd)"
  if [ "$3" != ok ]; then
    expect "$1, the log" yes "$(grep -q 'UnsatisfiedLinkError: no zstd-jni' "$dir/log" && echo yes || echo no)"
    if [ "$2" = folder ]; then
      rm -r "$dir/kafka"
      cp -r "$old" "$dir/kafka"
    else
      mv "$dir/gone" "$dir/old"
      ln -sfn "$dir/old" "$dir/kafka"
    fi
    expect "$1, the old jars restored: zstd" "$3" "$(send zstd)"
  fi
  kill "$pid"
  wait "$pid" || true
  expect "$1, stopped cleanly" yes "$([ -e "$dir/data/.kafka_cleanshutdown" ] && echo yes || echo no)"
}

port=21190
try 4.3.1 link ok
try 4.3.1 link+removed errors.UnknownServerException
try 3.7.1 folder errors.UnknownServerException
finish
