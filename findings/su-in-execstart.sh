#!/usr/bin/env bash
# Question: a unit starts its program with `su - USER -c '...'` and the program needs 5 s to stop.
# Does `systemctl stop` wait for it (TimeoutStopSec=30), and does the program stay in the unit's control group?
# Guess, written before: systemd's session module moves it into a session scope; su passes SIGTERM on and waits.
# Seen (Debian 12 and 13: systemd 252.39 and 257.13): the processes lie in
# /user.slice/user-UID.slice/session-cN.scope; the stop takes 2 s: su sends SIGTERM, and SIGKILL 2 s later,
# so the program never gets to its end.
# What follows: User= in the unit, never su. TimeoutStopSec= and KillMode= say nothing about such a unit.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

try() {
  image "$1"
  disk "$1"
  local root=$work/$1/root
  cat >"$root/etc/systemd/system/broker.service" <<'UNIT'
[Service]
ExecStart=/bin/su - broker -c "bash -c 'trap \"sleep 5; touch /tmp/clean; exit 143\" TERM; sleep 100000 & wait'"
TimeoutStopSec=30
UNIT
  boot "$1"
  say "$1: $(inside "$1" systemctl --version | head -n 1)"
  inside "$1" useradd -m -s /bin/bash broker
  inside "$1" systemctl start broker.service
  sleep 1
  expect "$1, in a session" yes "$(inside "$1" sh -c 'grep -l session- /proc/[0-9]*/cgroup | wc -l' | grep -q '^0$' && echo no || echo yes)"
  local begun=$SECONDS
  inside "$1" systemctl stop broker.service
  say "$1: the stop took $((SECONDS - begun)) s"
  sleep 5
  expect "$1, a clean end" no "$(inside "$1" sh -c 'test -e /tmp/clean && echo yes || echo no')"
}

try bookworm
try trixie
finish
