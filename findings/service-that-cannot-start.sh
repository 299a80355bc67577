#!/usr/bin/env bash
# Question: what does systemd do with the sockets that it keeps for a service with
# Restart=always that fails to start again and again, and what can a unit hook to that?
# Guess, written before: OnFailure= is taken once, when StartLimitBurst= is used up; the
# service's Result is start-limit-hit then; its sockets are dropped, with
# FileDescriptorStorePreserve=yes `systemctl clean --what=fdstore` drops them; a oneshot
# with SuccessExitStatus=SIGTERM that is stopped in its first ExecStart= ends with success.
# Seen (Debian 12: systemd 252.39; Debian 13: systemd 257.13):
#  - 257 takes OnFailure= at each automatic restart (RestartMode=normal), 252 at the last only.
#  - Result stays exit-code on both. NRestarts tells the two apart.
#  - 252 drops the sockets of the failed service. 257 keeps them with Preserve=yes, and refuses
#    to clean a failed service ("Unit is not inactive"); after reset-failed it cleans.
#  - `systemctl reset-failed` of a running service resets the count of starts.
#  - The stopped oneshot continues with its next ExecStart=.
# What follows: a unit for OnFailure= has to ask whether the service really is failed, must
# reset it before it cleans it, and does what must not go on after a stop in one ExecStart=.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

service='
import array, os, socket, sys
if os.path.exists("/run/fail"):
    sys.exit(2)
def notify(text, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
if os.environ.get("LISTEN_FDS"):
    kept = socket.socket(fileno=3)
else:
    kept = socket.create_server(("127.0.0.1", 7777))
    notify("FDSTORE=1\nFDNAME=kept\n", [kept.fileno()])
notify("READY=1\n")
while True:
    kept.accept()[0].close()
'

try() { # try SUITE PRESERVE HOOKS KEPT CLEANED
  image "$1" python3-minimal
  disk "$1"
  local root=$work/$1/root
  printf '%s\n' "$service" >"$root/usr/local/lib/service.py"
  cat >"$root/etc/systemd/system/kept.service" <<UNIT
[Unit]
StartLimitIntervalSec=10min
StartLimitBurst=5
OnFailure=hook.service
[Service]
Type=notify
ExecStart=/usr/bin/python3 /usr/local/lib/service.py
Restart=always
RestartSec=1
FileDescriptorStoreMax=4
$2
UNIT
  printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo >>/run/hooked"\n' >"$root/etc/systemd/system/hook.service"
  printf '[Service]\nType=oneshot\nSuccessExitStatus=SIGTERM\nExecStart=/bin/sleep 60\nExecStart=/bin/touch /run/went-on\n' \
    >"$root/etc/systemd/system/steps.service"
  boot "$1"
  say "$1: $(inside "$1" systemctl --version | head -n 1)"
  shown() { inside "$1" systemctl show --value --property "$2" kept.service; }
  # shellcheck disable=SC2317 # wait_for calls it
  failed_now() { [ "$(shown "$1" ActiveState)" = failed ]; }
  sh() { inside "$1" /bin/sh -c "$2"; }

  inside "$1" systemctl start kept.service
  local i
  for i in 1 2 3 4 5 6 7 8; do
    inside "$1" systemctl reset-failed kept.service
    inside "$1" systemctl restart kept.service
  done
  expect "$1, eight restarts with reset-failed between them" active "$(shown "$1" ActiveState)"
  inside "$1" systemctl reset-failed kept.service
  inside "$1" touch /run/fail
  inside "$1" systemctl kill --signal=KILL kept.service
  wait_for 60 failed_now "$1"
  sleep 1
  expect "$1, the result" exit-code "$(shown "$1" Result)"
  i=$(sh "$1" 'wc -l </run/hooked')
  expect "$1, OnFailure= taken more than once" "$3" "$([ "$i" -gt 1 ] && echo yes || echo no)"
  expect "$1, sockets kept for the failed service" "$4" "$(shown "$1" NFileDescriptorStore)"
  if [ "$4" = 1 ]; then
    sh "$1" 'systemctl clean --what=fdstore kept.service 2>/dev/null' || true
    expect "$1, after cleaning the failed service" 1 "$(shown "$1" NFileDescriptorStore)"
    sh "$1" 'systemctl reset-failed kept.service && systemctl clean --what=fdstore kept.service'
    expect "$1, after reset-failed and cleaning" 0 "$(shown "$1" NFileDescriptorStore)"
  fi

  inside "$1" systemctl start --no-block steps.service
  sleep 1
  inside "$1" systemctl stop steps.service
  expect "$1, a stopped oneshot goes on with its next step" yes "$(sh "$1" '[ -e /run/went-on ] && echo yes || echo no')"
  off "$1"
}

try bookworm "" no 0
try trixie FileDescriptorStorePreserve=yes yes 1
finish
