#!/usr/bin/env bash
# Question: one file of settings for a broker (KAFKA_HEAP_OPTS=..., KAFKA_OPTS=...) is read by the
# unit with EnvironmentFile= and sourced by hand in a shell, to run Kafka's tools. Which ordinary
# lines mean something else to systemd?
# Guess, written before: $OTHER and `export` are not for systemd, and a comment after an unquoted
# value becomes part of it; quotes mean the same to both wherever they are.
# Seen (systemd 252.39 and 257.13 alike; bash 5.2):
#  - Quotes count only where the value *begins* with one. KEY=-Dfile="/etc/jaas.conf" keeps both
#    quotes in the value, so Java looks for a file whose name begins with a quote; bash drops
#    them.
#  - What follows the closing quote is appended to the value: KEY="-Xmx1g" # heap gives
#    "-Xmx1g# heap"; the blank is lost as well. Java: "Invalid maximum heap size".
#  - `export KEY=value`: one line "Ignoring invalid environment assignment" in the journal, and the
#    unit starts without it. A name with a dash goes the same way.
#  - KEY=two words is taken whole by systemd; bash runs `words` with KEY=two.
# What follows: put the whole value into quotes, with no quote inside, and comments on lines of
# their own: those lines mean the same to both. A unit that starts is no sign that all lines were
# read: systemctl show --property Environment does not list them either; /proc/PID/environ does.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# values prints what the variables became; the reader runs it with the file's environment.
# shellcheck disable=SC2016 # the reader's own variables
values='for k in WHOLE INNER BEHIND UNQUOTED EXPORTED WORDS OTHER TWICE; do
  eval "v=\${$k-(not set)}"
  echo "$k=$v"
done'

try() {
  image "$1"
  disk "$1"
  local root=$work/$1/root
  cat >"$root/etc/broker.env" <<'FILE'
# a comment on a line of its own
WHOLE="-Xmx1g -Dfile=/etc/jaas.conf"
INNER=-Dfile="/etc/jaas.conf"
BEHIND="-Xmx1g" # heap
UNQUOTED=-Xmx1g # heap
export EXPORTED=yes
OTHER=$WHOLE
TWICE="a b"c
FILE
  printf '%s\n' "$values" >"$root/usr/local/lib/values.sh"
  printf '[Service]\nType=oneshot\nEnvironmentFile=/etc/broker.env\nExecStart=/bin/sh -c "sh /usr/local/lib/values.sh >/run/values"\n' \
    >"$root/etc/systemd/system/broker.service"
  boot "$1"
  say "$1: $(inside "$1" systemctl --version | head -n 1)"
  inside "$1" systemctl start broker.service
  local shell
  shell=$(inside "$1" env -i PATH=/usr/bin:/bin bash -c 'set -a; . /etc/broker.env; . /usr/local/lib/values.sh')
  value() { sed -n "s/^$1=//p"; }
  both() { # KEY SYSTEMD BASH
    expect "$m, $1, systemd" "$2" "$(inside "$m" cat /run/values | value "$1")"
    expect "$m, $1, bash" "$3" "$(value "$1" <<<"$shell")"
  }
  m=$1
  both WHOLE "-Xmx1g -Dfile=/etc/jaas.conf" "-Xmx1g -Dfile=/etc/jaas.conf"
  both INNER '-Dfile="/etc/jaas.conf"' "-Dfile=/etc/jaas.conf"
  both BEHIND "-Xmx1g# heap" "-Xmx1g"
  both UNQUOTED "-Xmx1g # heap" "-Xmx1g"
  both EXPORTED "(not set)" "yes"
  both OTHER "\$WHOLE" "-Xmx1g -Dfile=/etc/jaas.conf"
  both TWICE "a bc" "a bc"
  expect "$1, the journal" "broker.service: Ignoring invalid environment assignment 'export EXPORTED=yes': /etc/broker.env" \
    "$(inside "$1" journalctl -o cat --no-pager --grep 'invalid environment')"
  expect "$1, the unit" success "$(inside "$1" systemctl show --property Result --value broker.service)"
}

try bookworm
try trixie
finish
