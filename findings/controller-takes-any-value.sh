#!/usr/bin/env bash
# Question: kafka-configs reaches a controller as well (--bootstrap-controller, KIP-919). What does it do with a
# default of all brokers that a broker refuses: a name that is not dynamic, or a number that is none?
# Guess, written before: the controller takes both; the brokers report them as set, and drop all defaults of that
# level at their next start, as they do with a thread count that is too large.
# Seen (one combined node, Java 17): the controller takes both with exit code 0. The broker writes an ERROR line at
# each later change of a default and at each start ("will be ignored"), and ignores the two alone: the other defaults
# are in force, also after a restart. Nobody shows the two: neither --describe by a broker nor by the controller.
# kafka-configs 3.7.1 cannot delete them either ("Invalid config(s)": it deletes only what --describe shows); that of
# 4.4.0 says "Completed" by both ways.
# What follows: "Completed updating default config" of a controller proves nothing. Set defaults of brokers by
# --bootstrap-server alone. Where brokers log "will be ignored" and --describe shows nothing, delete the name with the
# tool of 4.x.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

configs() { # TO ARGUMENT...
  timeout 60 java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" "$class" "$@" 2>>"$work/stderr"
}
broker() { configs --bootstrap-server "127.0.0.1:$port" --entity-type brokers "$@"; }
# shellcheck disable=SC2317 # taken calls it
controller() { configs --bootstrap-controller "127.0.0.1:$((port + 1))" --entity-type brokers "$@"; }
taken() { if "$@" >/dev/null; then echo taken; else echo refused; fi; }
# shown TO: which of the two names are shown as defaults
shown() { "$1" --entity-default --describe | grep -oE '(replica.fetch.backoff.ms|num.io.threads)=[^ ]+' | sort -u | paste -sd' ' | sed 's/^$/none/'; }
in_force() { broker --entity-name 1 --describe --all | grep -oE "^ *$1=[^ ]*" | sed 's/.*=//'; }
# shellcheck disable=SC2317 # wait_for calls it
serves() { broker --entity-name 1 --describe | grep -q 'onfigs for broker'; }
# shellcheck disable=SC2317 # wait_for calls it
has() { [ "$(in_force "$1")" = "$2" ]; }

try() { # VERSION CLASS DELETES
  kafka "$1"
  class=$2
  port=$((port + 10))
  dir=$work/$1
  combined "$dir" "$port"
  start "$dir"
  wait_for 90 serves
  local v=$1
  expect "$v, by a broker: a name that is not dynamic" refused "$(taken broker --entity-default --alter --add-config replica.fetch.backoff.ms=50)"
  expect "$v, by a broker: a number that is none" refused "$(taken broker --entity-default --alter --add-config num.io.threads=many)"
  expect "$v, by the controller: a name that is not dynamic" taken "$(taken controller --entity-default --alter --add-config replica.fetch.backoff.ms=50)"
  expect "$v, by the controller: a number that is none" taken "$(taken controller --entity-default --alter --add-config num.io.threads=many)"
  expect "$v, by a broker: another default" taken "$(taken broker --entity-default --alter --add-config message.max.bytes=2000000)"
  wait_for 30 has message.max.bytes 2000000
  expect "$v: replica.fetch.backoff.ms in force" 1000 "$(in_force replica.fetch.backoff.ms)"
  expect "$v: num.io.threads in force" 8 "$(in_force num.io.threads)"
  stop
  start "$dir"
  wait_for 90 serves
  wait_for 30 has message.max.bytes 2000000
  expect "$v, after a restart: the other default" 2000000 "$(in_force message.max.bytes)"
  expect "$v, shown by a broker" none "$(shown broker)"
  expect "$v, shown by the controller" none "$(shown controller)"
  expect "$v, deleted by a broker" "$3" "$(taken broker --entity-default --alter --delete-config replica.fetch.backoff.ms)"
  expect "$v, deleted by the controller" "$3" "$(taken controller --entity-default --alter --delete-config replica.fetch.backoff.ms,num.io.threads)"
  stop
}
port=22300

try 3.7.1 kafka.admin.ConfigCommand refused
try 4.4.0 org.apache.kafka.tools.ConfigCommand taken
finish
