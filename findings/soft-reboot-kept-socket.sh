#!/usr/bin/env bash
# Question: a service keeps its listening socket in systemd (FDSTORE=1, FileDescriptorStoreMax=,
# FileDescriptorStorePreserve=yes), so its port stays open over restarts and stops. What of a
# soft reboot, and of `systemctl reboot` on a machine where /run/nextroot is there?
# Guess, written before: the port stays open throughout and the next start gets the socket; a plain
# reboot with /run/nextroot is a soft one as well.
# Seen (Debian 13, systemd 257.13):
#  - The socket is gone: the store of an ordinary unit is emptied when shutdown.target stops it,
#    FileDescriptorStorePreserve=yes or not. The port is refused for seconds, and the next start has
#    no LISTEN_FDS. `systemctl restart`, and stop and start, keep it.
#  - `systemctl reboot` with /run/nextroot is a soft reboot without a word: the same boot id, the same
#    kernel; SoftRebootsCount of the manager grows.
#  - /run stays, /run/reboot-required and own state in it too; /tmp is emptied; a oneshot unit with
#    RemainAfterExit=yes runs again.
# What follows: a reboot that was ordered is no proof of a new kernel: compare the boot id, and expect
# it unchanged where /run/nextroot is there. The mark "reboot required" outlives such a reboot. A port
# that is to stay open for a load balancer does not, whatever is kept in the store.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
image trixie python3-minimal
disk m
root=$work/m/root

cat >"$root/usr/local/lib/keep.py" <<'PYTHON'
import array, os, socket, sys
name, port = sys.argv[1], int(sys.argv[2])
kept = os.environ.get("LISTEN_FDS", "0")
open("/var/" + name, "a").write(kept + " ")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
if kept == "0":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    notify.sendmsg([b"FDSTORE=1\nFDNAME=port"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]))])
else:
    listener = socket.socket(fileno=3)
notify.send(b"READY=1")
while True:
    listener.accept()[0].close()
PYTHON
unit() { # NAME LINES OF [Service]: enabled
  printf '[Service]\n%b\n' "$2" >"$root/etc/systemd/system/$1"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -s "/etc/systemd/system/$1" "$root/etc/systemd/system/multi-user.target.wants/$1"
}
keep='Type=notify\nFileDescriptorStoreMax=8\nFileDescriptorStorePreserve=yes\nExecStart=/usr/bin/python3 /usr/local/lib/keep.py'
unit keep.service "$keep keep 39192"
unit once.service 'Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo -n 1 >>/var/once"'

boot m
say "$(inside m systemctl --version | head -n 1)"
bootid() { inside m cat /proc/sys/kernel/random/boot_id; }
first=$(bootid)
count() { inside m systemctl show --property SoftRebootsCount --value; }

# connects prints how the connects to a port went, until $work/done is there. It stays in the network namespace.
# shellcheck disable=SC2016 # the inner shell's variables
connects='r=0; until [ -e "$1/done" ]; do (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null || r=$((r + 1)); sleep 0.1; done; echo "$r"'

# shellcheck disable=SC2317 # it calls again
watched() { # COMMAND...: while connects are tried; sets refused
  rm -f "$work/done"
  nsenter --target "$(leader m)" --net -- bash -c "$connects" connects "$work" 39192 >"$work/refused" &
  children+=($!)
  sleep 1
  "$@"
  touch "$work/done"
  wait $!
  refused=$([ "$(cat "$work/refused")" -gt 0 ] && echo some || echo none)
}
# shellcheck disable=SC2317 # watched calls it
again() { # VERB: what ends in one more soft reboot
  local before
  before=$(count)
  inside m systemctl "$1" || true
  more() { [ "$(count)" = $((before + 1)) ] && up m; }
  wait_for 60 more
  sleep 3
}

watched inside m systemctl restart keep.service
expect "restart: LISTEN_FDS of each start" "0 1 " "$(cat "$root/var/keep")"
expect "restart: refused connects" none "$refused"
inside m systemctl stop keep.service
inside m systemctl start keep.service
expect "stop and start: LISTEN_FDS of each start" "0 1 1 " "$(cat "$root/var/keep")"

inside m touch /run/reboot-required /tmp/mark
watched again soft-reboot
expect "soft-reboot: the boot id" "$first" "$(bootid)"
expect "soft-reboot: LISTEN_FDS of each start" "0 1 1 0 " "$(cat "$root/var/keep")"
expect "soft-reboot: refused connects" some "$refused"
expect "soft-reboot: marks that stay" "/run/reboot-required" "$(inside m sh -c 'ls -d /run/reboot-required /tmp/mark 2>/dev/null')"
expect "soft-reboot: runs of the oneshot unit" 11 "$(cat "$root/var/once")"

inside m sh -c 'mkdir -p /run/nextroot && mount --bind / /run/nextroot'
watched again reboot
expect "reboot with /run/nextroot: the boot id" "$first" "$(bootid)"
expect "reboot with /run/nextroot: LISTEN_FDS of each start" "0 1 1 0 0 " "$(cat "$root/var/keep")"
expect "reboot with /run/nextroot: soft reboots" 2 "$(count)"
finish
