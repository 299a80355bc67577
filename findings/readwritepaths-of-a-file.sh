#!/usr/bin/env bash
# Question: a service has ProtectSystem=strict and ReadWritePaths=/etc/kafka/server.properties
# (one file), or BindReadOnlyPaths=SOURCE:FILE. Another program replaces a file from outside by
# a rename, as sed -i, editors, Ansible and Puppet do. What does the running service see?
# Guess, written before: a mount holds the old file, so the service reads the old bytes in all cases.
# Seen (systemd 252.39 on Debian 12, 257.13 on Debian 13, alike; Linux 6.1 and later have both rules):
#  - ReadWritePaths=FILE, FILE replaced: the mount vanishes from the service's view. It reads the
#    new bytes, and *may no longer write*: "Read-only file system", until it is restarted. No line
#    in the journal. Written in place from outside, it goes on.
#  - BindReadOnlyPaths=SOURCE:FILE, SOURCE replaced: the old bytes for ever, link count 0, and
#    /proc/self/mountinfo shows SOURCE//deleted. FILE (the place holder) replaced: that mount
#    vanishes too, and the service reads the place holder's bytes instead of SOURCE's.
# What follows: never name a single file in ReadWritePaths=, BindPaths= or BindReadOnlyPaths= that
# anybody replaces by a rename; name its folder. A service that suddenly says "Read-only file
# system" for a file that it could write yesterday may only need a restart.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016 # the service's own variables
# The service answers each number in /run/ask/n with what it reads, and whether it can write.
service='
while :; do
  n=$(cat /run/ask/n)
  if [ "$n" != "$last" ]; then
    last=$n
    bytes=$(cat /etc/kafka/server.properties)
    links=$(stat -c %h /etc/kafka/server.properties)
    if error=$( { : >>/etc/kafka/server.properties; } 2>&1 ); then write=yes; else write=${error##*: }; fi
    mounts=$(grep -c " /etc/kafka/server.properties " /proc/self/mountinfo)
    deleted=$(grep " /etc/kafka/server.properties " /proc/self/mountinfo | grep -c "//deleted")
    echo "$n reads $bytes, links $links, mounts $mounts (deleted $deleted), write $write" >/run/ask/answer
  fi
  sleep 0.1
done
'

try() {
  image "$1"
  disk "$1"
  local root=$work/$1/root
  printf '%s\n' "$service" >"$root/usr/local/lib/service.sh"
  mkdir -p "$root/etc/kafka" "$root/srv"
  boot "$1"
  say "$1: $(inside "$1" systemctl --version | head -n 1)"
  inside "$1" mkdir /run/ask

  start() { # PROPERTY: starts the service with the file as it was at first
    inside "$1" systemctl stop service.service 2>/dev/null || true
    inside "$1" sh -c 'rm -f /run/ask/answer; echo 0 >/run/ask/n; echo old >/etc/kafka/server.properties; echo old >/srv/source'
    inside "$1" systemd-run --quiet --unit=service --property=ProtectSystem=strict --property=ReadWritePaths=/run/ask \
      --property="$2" sh /usr/local/lib/service.sh
    wait_for 20 inside "$1" grep -q '^0 ' /run/ask/answer
  }
  answer() { # what it sees now
    local n
    n=$(date +%s%N)
    inside "$1" sh -c "echo $n >/run/ask/n"
    wait_for 20 inside "$1" grep -q "^$n " /run/ask/answer
    inside "$1" sed "s/^$n //" /run/ask/answer
  }
  replace() { inside "$1" sh -c "echo new >$2.tmp && mv $2.tmp $2"; }

  local file=/etc/kafka/server.properties
  start "$1" ReadWritePaths=$file
  expect "$1, ReadWritePaths=FILE" "reads old, links 1, mounts 1 (deleted 0), write yes" "$(answer "$1")"
  inside "$1" sh -c "echo other >$file"
  expect "$1, written in place" "reads other, links 1, mounts 1 (deleted 0), write yes" "$(answer "$1")"
  replace "$1" $file
  expect "$1, replaced" "reads new, links 1, mounts 0 (deleted 0), write Read-only file system" "$(answer "$1")"
  expect "$1, lines about it in the journal" "" "$(inside "$1" journalctl -o cat -u service.service --grep 'mount|read-only' --no-pager | grep -v 'No entries' || true)"
  start "$1" ReadWritePaths=$file
  expect "$1, after a restart" "reads old, links 1, mounts 1 (deleted 0), write yes" "$(answer "$1")"

  start "$1" BindReadOnlyPaths=/srv/source:$file
  expect "$1, BindReadOnlyPaths=" "reads old, links 1, mounts 1 (deleted 0), write Read-only file system" "$(answer "$1")"
  replace "$1" /srv/source
  expect "$1, source replaced" "reads old, links 0, mounts 1 (deleted 1), write Read-only file system" "$(answer "$1")"
  start "$1" BindReadOnlyPaths=/srv/source:$file
  replace "$1" $file
  expect "$1, place holder replaced" "reads new, links 1, mounts 0 (deleted 0), write Read-only file system" "$(answer "$1")"
}

try bookworm
try trixie
finish
