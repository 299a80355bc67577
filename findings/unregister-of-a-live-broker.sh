#!/usr/bin/env bash
# Question: kafka-cluster unregister is for brokers that are gone. What happens if its --id is that of a broker that runs?
# Guess, written before: the controller refuses while the broker is not fenced; or the broker registers itself again at
# its next heartbeat, two seconds later.
# Seen (a combined node and a broker, Java 17): it is taken, with exit code 0. The broker is out of every ISR at once, and
# its process goes on. Each of its heartbeats is answered STALE_BROKER_EPOCH, which it notes as a warning and tries again;
# it never registers again. Nor does it get out: after SIGTERM it asks for its controlled shutdown in vain, and ends
# after 301 s (the code waits five minutes for the answer). A restart brings it back with all its replicas.
# What follows: nothing but a stopped broker may be unregistered, and the command does not look: compare the id first.
# A broker that was unregistered by mistake is restarted at once; systemd's TimeoutStopSec (90 s by default) ends its stop
# with SIGKILL. No program can shorten the wait of a restart on Kafka 4 (KAFKA-19047) in this way: the request has no
# broker epoch, so one that comes late takes the new process out.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

tool() { # CLASS ARGUMENT...
  timeout 60 java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" "$@" 2>>"$work/stderr"
}
topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" "$@"; }
unregister() {
  tool org.apache.kafka.tools.ClusterTool unregister --bootstrap-server "127.0.0.1:$port" --id 2 >/dev/null && echo taken || echo refused
}
# isr: the in-sync replicas of the topic's only partition, sorted
isr() { topics --describe --topic t | grep -oE 'Isr: [0-9,]+' | sed 's/Isr: //' | tr ',' '\n' | sort | paste -sd,; }
# shellcheck disable=SC2317 # wait_for calls it
isr_is() { [ "$(isr)" = "$1" ]; }
runs() { if kill -0 "$1" 2>/dev/null; then echo runs; else echo ended; fi; }
said() { grep -c "$2" "$1/log" || true; }

# second DIR: formats node 2, a broker alone, next to the combined node 1.
second() {
  mkdir "$1"
  cat >"$1/server.properties" <<PROPERTIES
process.roles=broker
node.id=2
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=INTERNAL://127.0.0.1:$((port + 2))
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/data
PROPERTIES
  java_kafka kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$1/server.properties" >"$1/format.log" 2>&1
}

try() { # VERSION
  kafka "$1"
  port=$((port + 10))
  combined "$work/$1-1" "$port"
  second "$work/$1-2"
  start "$work/$1-1"
  local first=$node
  start "$work/$1-2"
  local two=$node began
  # shellcheck disable=SC2317 # wait_for calls it
  created() { topics --create --topic t --replica-assignment 2:1; }
  wait_for 120 created
  wait_for 60 isr_is 1,2
  expect "$1: unregister --id 2, while broker 2 runs" taken "$(unregister)"
  wait_for 30 isr_is 1
  sleep 60 # thirty heartbeats: what is to be seen is that nothing happens
  expect "$1, a minute later: in-sync replicas" 1 "$(isr)"
  expect "$1, a minute later: the process of broker 2" runs "$(runs "$two")"
  say "          $1: lines with STALE_BROKER_EPOCH in its log: $(said "$work/$1-2" STALE_BROKER_EPOCH)"
  began=$SECONDS
  kill "$two"
  wait "$two" || true
  began=$((SECONDS - began))
  say "          $1: seconds from SIGTERM to its end: $began"
  expect "$1: it ends only after 290 s and more" yes "$([ "$began" -ge 290 ] && echo yes || echo no)"
  start "$work/$1-2"
  two=$node
  wait_for 120 isr_is 1,2
  expect "$1, after a restart of broker 2: in-sync replicas" 1,2 "$(isr)"
  kill "$two"
  wait "$two" || true
  node=$first
  stop
}
port=22500

try 3.7.1
try 4.4.0
finish
