#!/usr/bin/env bash
# Prints the path of prometheus or promtool: prometheus.sh NAME. Where it is not
# installed, it is taken out of the distribution's package, which is not installed:
# that would start a server.
set -euo pipefail

name=$1
if command -v "$name"; then
  exit
fi
bin=$(cd "$(dirname "$0")/.." && pwd)/.cache/bin

# download fetches the package, with fresh lists where the machine's are missing or old.
download() {
  local get=(apt-get -qq -o APT::Sandbox::User=root) root=()
  "${get[@]}" download prometheus 2>/dev/null && return
  [ "$(id -u)" -eq 0 ] || root=(sudo -n)
  "${root[@]}" apt-get -qq update && "${get[@]}" download prometheus
}

if [ ! -x "$bin/$name" ]; then
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  (cd "$tmp" && download && dpkg-deb -x prometheus_*.deb .) >&2
  mkdir -p "$bin"
  mv "$tmp/usr/bin/prometheus" "$tmp/usr/bin/promtool" "$bin"
fi
echo "$bin/$name"
