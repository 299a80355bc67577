#!/usr/bin/env bash
# Question: somebody gives a broker's listener another port with kafka-configs (`listeners` is among the
# settings that Kafka changes at run time, KIP-226). Where does the broker listen then?
# Guess, written before: at the new port at once, and so after a restart, too.
# Seen (one combined node, Java 17): the change is taken, and kafka-configs --describe shows the new port
# as the value in force. The broker listens at the old port alone, also after a restart. Kafka compares
# the names of listeners, and opens or closes a socket only for a name that comes or goes.
# That such a change waits for a restart is KAFKA-16102; that the restart does not bring it, either, is not in it.
# What follows: what Kafka reports of `listeners` is not where it listens. Change the port in
# server.properties, delete the dynamic value, restart; or give the new port a listener name of its own.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

configs() {
  timeout 60 java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" "$class" \
    --bootstrap-server "127.0.0.1:$port" --entity-type brokers --entity-name 1 "$@" 2>>"$work/stderr"
}
listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
ports() { # which of the two EXTERNAL listens at
  local seen=
  listens $((port + 2)) && seen=old
  listens $((port + 3)) && seen="${seen:+$seen }new"
  echo "${seen:-none}"
}
# The first value of the line is the one in force.
reported() {
  configs --describe --all | grep -oE '^ *listeners=[^ ]*' | grep -oE "EXTERNAL://127.0.0.1:[0-9]+" |
    sed "s/.*:$((port + 2))$/old/; s/.*:$((port + 3))$/new/"
}
# shellcheck disable=SC2317 # wait_for calls it
is_reported() { [ "$(reported)" = new ]; }
# shellcheck disable=SC2317 # wait_for calls it
serves() { configs --describe >/dev/null; }

try() { # VERSION CLASS
  kafka "$1"
  class=$2
  port=$((port + 10))
  dir=$work/$1
  local rest="INTERNAL://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))"
  combined "$dir" "$port" "EXTERNAL=$((port + 2))"
  start "$dir"
  wait_for 90 serves
  expect "$1, before: EXTERNAL listens at the port" old "$(ports)"
  configs --alter --add-config "listeners=[$rest,EXTERNAL://127.0.0.1:$((port + 3))]" >/dev/null
  wait_for 30 is_reported
  expect "$1, changed: it listens at the port" old "$(ports)"
  stop
  start "$dir"
  wait_for 90 serves
  expect "$1, after a restart: the port that is reported" new "$(reported)"
  expect "$1, after a restart: it listens at the port" old "$(ports)"
  stop
}
port=22100

try 3.7.1 kafka.admin.ConfigCommand
try 4.4.0 org.apache.kafka.tools.ConfigCommand
finish
