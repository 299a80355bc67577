#!/usr/bin/env bash
# Question: a script asks kafka-configs --describe for a topic, or a broker, that is not there (a typing
# error, a broker that was removed). How does it know?
# Guess, written before: an error and exit code 1, for both, in 3.7.1 and in 4.4.0.
# Seen (one combined node, Java 17):
#  - 4.4.0: the text "The topic 'nosuch' doesn't exist and doesn't have dynamic config.", and exit code
#    0, for a topic and for a broker. 3.7.1 ends with an exception and 1 for the topic, after the
#    heading "Dynamic configs for topic nosuch are:".
#  - 3.7.1, a broker that is not there: no answer for more than 40 s. 4.4.0 answers at once.
#  - 4.4.0 still refuses a change (--alter) of such a topic with exit code 1.
# What follows: with 4.4.0 the exit code of kafka-configs --describe no longer proves that a name is
# right: a check "no overrides on this topic" passes for a topic that is not there. Read the text, or ask
# kafka-topics --describe first (exit code 1).
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# ask SECONDS CLASS OPTION...: prints the exit code (124: no answer in time) and the answer in short.
ask() {
  local limit=$1 class=$2 out code=0
  shift 2
  out=$(timeout "$limit" java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" "$class" \
    --bootstrap-server "127.0.0.1:$port" "$@" 2>"$work/stderr") || code=$?
  out=$(grep -oE "Dynamic configs for .* are:|does(n't| not) exist" <<<"$out" | head -n 1) || true
  echo "$code${out:+ $out}"
}
# shellcheck disable=SC2317 # wait_for calls it
created() { [ "$(ask 30 org.apache.kafka.tools.TopicCommand --create --if-not-exists --topic t)" = 0 ]; }

try() { # VERSION CLASS: starts a node of that version
  kafka "$1"
  configs=$2
  port=$((port + 10))
  local dir=$work/$1
  combined "$dir" "$port"
  start "$dir"
  wait_for 90 created
}
port=21900

try 3.7.1 kafka.admin.ConfigCommand
expect "3.7.1, a topic without settings" "0 Dynamic configs for topic t are:" "$(ask 60 "$configs" --describe --entity-type topics --entity-name t)"
expect "3.7.1, a topic that is not there" "1 Dynamic configs for topic nosuch are:" "$(ask 60 "$configs" --describe --entity-type topics --entity-name nosuch)"
expect "3.7.1, a broker that is not there" 124 "$(ask 40 "$configs" --describe --entity-type brokers --entity-name 9 | cut -d' ' -f1)"

try 4.4.0 org.apache.kafka.tools.ConfigCommand
expect "4.4.0, a topic without settings" "0 Dynamic configs for topic t are:" "$(ask 60 "$configs" --describe --entity-type topics --entity-name t)"
expect "4.4.0, a topic that is not there" "0 doesn't exist" "$(ask 60 "$configs" --describe --entity-type topics --entity-name nosuch)"
expect "4.4.0, a broker that is not there" "0 doesn't exist" "$(ask 60 "$configs" --describe --entity-type brokers --entity-name 9)"
expect "4.4.0, a setting for that topic" 1 "$(ask 60 "$configs" --alter --entity-type topics --entity-name nosuch --add-config retention.ms=5000)"
expect "4.4.0, kafka-topics for that topic" "1 does not exist" "$(ask 60 org.apache.kafka.tools.TopicCommand --describe --topic nosuch)"
finish
