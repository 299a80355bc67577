#!/usr/bin/env bash
# Makes a Debian or Ubuntu host ready for `make e2e`, which builds machines with a
# systemd of their own: as root, installs what is missing, and starts none of it.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }

# wanted prints a program and the package that has it, for each that is needed.
wanted() {
  cat <<'LIST'
mmdebstrap mmdebstrap
systemd-nspawn systemd-container
nsenter util-linux
ip iproute2
nft nftables
haproxy haproxy
prometheus prometheus
LIST
}

# missing prints the packages of the programs that are not there.
missing() {
  local program package
  while read -r program package; do
    command -v "$program" >/dev/null || echo "$package"
  done < <(wanted)
}

# A package that brings a daemon asks this program whether it may start it.
readonly policy=/usr/sbin/policy-rc.d

install_quietly() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update </dev/null
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  say "installing $*"
  "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >/dev/null
  # Nor at the next boot: the tests start their own.
  local package
  for package in haproxy prometheus; do
    if [[ " $* " == *" $package "* ]]; then
      systemctl --quiet disable "$package" >/dev/null 2>&1 || say "$package may start at the next boot; systemctl disable $package"
    fi
  done
}

mapfile -t packages < <(missing)
if [ ${#packages[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  say "this needs root; as root: test/setup-machines.sh" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  say "missing: ${packages[*]}; this is neither Debian nor Ubuntu, install these with its package manager" >&2
  exit 1
fi
install_quietly "${packages[@]}"
mapfile -t packages < <(missing)
if [ ${#packages[@]} -gt 0 ]; then
  say "apt did not bring what was expected of ${packages[*]}" >&2
  exit 1
fi
say "ready: machines can be built"
