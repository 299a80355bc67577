#!/usr/bin/env bash
# Question: what does a service that asks systemd for a restart see when polkitd does not
# answer at once, and what happens to a restart that the asker has given up?
# Guess, written before: a masked polkit.service = AccessDenied; one that fails at its start
# = AccessDenied at once; a restart that was given up is gone.
# Seen (Debian 12: systemd 252.39, polkit 122; Debian 13: systemd 257.13, polkit 126; alike):
#  - polkit.service masked: RestartUnit(broker.service) fails with UnitMasked, and only the
#    message says that the masked unit is polkit.service, not the broker's.
#  - polkitd hangs, or fails at its start: nothing for 25 s, then the error NoReply, "Method
#    call timed out".
#  - The asker's own time-out (3 s) passes, its connection stays, polkitd answers at 8 s:
#    systemd restarts the unit 5 s after the asker got the failure. If the asker
#    has closed its connection, no restart comes.
# What follows: a client's time-out is no cancellation. Whoever gives up on RestartUnit must
# close that connection before saying "not restarted" (releasing a lock, opening a probe,
# continuing with the next host), or wait longer than systemd's 25 s. UnitMasked and NoSuchUnit
# need the name in the message: it may be another unit.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# asker keeps its connection for the seconds of $2 after it has given up after 3 s.
asker='
import sys, time, dbus
bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object("org.freedesktop.systemd1", "/org/freedesktop/systemd1", introspect=False),
                         "org.freedesktop.systemd1.Manager")
try:
    print("job", manager.RestartUnit("broker.service", sys.argv[1], timeout=float(sys.argv[2])))
except dbus.DBusException as e:
    print(e.get_dbus_name(), e.get_dbus_message())
sys.stdout.flush()
if float(sys.argv[3]):
    time.sleep(float(sys.argv[3]))
bus.close()
'

try() {
  image "$1" python3-dbus
  disk "$1"
  local root=$work/$1/root before answer
  printf '[Service]\nExecStart=/bin/sleep infinity\n' >"$root/etc/systemd/system/broker.service"
  echo 'u agent - "agent"' >"$root/usr/lib/sysusers.d/agent.conf"
  printf '%s\n' "$asker" >"$root/usr/local/lib/asker.py"
  mkdir -p "$root/etc/polkit-1/rules.d"
  cat >"$root/etc/polkit-1/rules.d/10-agent.rules" <<'RULE'
polkit.addRule(function(action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "agent" &&
      action.lookup("unit") == "broker.service" && action.lookup("verb") == "restart") {
    return polkit.Result.YES;
  }
});
RULE
  boot "$1"
  say "$1: $(inside "$1" systemctl --version | head -n 1)"
  inside "$1" systemctl start broker.service polkit.service

  ask() { inside "$1" systemd-run --quiet --pipe --wait --uid=agent python3 /usr/local/lib/asker.py "${@:2}"; }
  invocation() { inside "$1" systemctl show --property InvocationID --value broker.service; }
  restarted() { [ "$(invocation "$1")" != "$before" ]; }

  expect "$1, a refused mode is asked" \
    "org.freedesktop.DBus.Error.InvalidArgs Isolate is only valid for start." "$(ask "$1" isolate 20 0)"

  inside "$1" systemctl mask --quiet --runtime polkit.service
  inside "$1" systemctl stop polkit.service
  expect "$1, polkit masked" "org.freedesktop.systemd1.UnitMasked Unit polkit.service is masked." "$(ask "$1" replace 20 0)"
  inside "$1" systemctl unmask --quiet --runtime polkit.service
  inside "$1" systemctl start polkit.service

  before=$(invocation "$1")
  inside "$1" pkill -STOP polkitd
  SECONDS=0
  answer=$(ask "$1" replace 60 0)
  expect "$1, polkitd hangs" "org.freedesktop.DBus.Error.NoReply Method call timed out" "$answer"
  expect "$1, after about 25 s" yes "$([ "$SECONDS" -ge 24 ] && [ "$SECONDS" -le 35 ] && echo yes || echo "$SECONDS s")"
  inside "$1" pkill -CONT polkitd
  sleep 2
  expect "$1, restarted by it" no "$(restarted "$1" && echo yes || echo no)"

  local stays
  for stays in 0 15; do
    before=$(invocation "$1")
    inside "$1" pkill -STOP polkitd
    rm -f "$work/$1/answer"
    ask "$1" replace 3 "$stays" >"$work/$1/answer" &
    children+=($!)
    wait_for 20 grep -q freedesktop "$work/$1/answer"
    expect "$1, given up" org.freedesktop.DBus.Error.NoReply "$(cut -d' ' -f1 "$work/$1/answer")"
    expect "$1, restarted while polkitd hangs" no "$(sleep 3; restarted "$1" && echo yes || echo no)"
    inside "$1" pkill -CONT polkitd
    if [ "$stays" = 0 ]; then
      expect "$1, restarted afterwards, the connection closed" no "$(sleep 5; restarted "$1" && echo yes || echo no)"
    else
      expect "$1, restarted afterwards, the connection kept" yes "$(wait_for 10 restarted "$1" && echo yes || echo no)"
    fi
    wait $! || true
  done
}

try bookworm
try trixie
finish
