#!/usr/bin/env bash
# Lets promtool judge the metrics of a running agent: promtool.sh AGENT. The agent
# needs no broker for it. Where promtool is not installed, it is taken out of the
# distribution's package, which is not installed: that would start a server.
set -euo pipefail

agent=$1
host=127.88.0.1 # an address that nothing else uses
port=9464
tmp=$(mktemp -d)
pid=
finish() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
  fi
  rm -rf "$tmp"
}
trap finish EXIT

# download fetches the package, with fresh lists where the machine's are missing or old.
download() {
  local get=(apt-get -qq -o APT::Sandbox::User=root) root=()
  "${get[@]}" download prometheus 2>/dev/null && return
  [ "$(id -u)" -eq 0 ] || root=(sudo -n)
  "${root[@]}" apt-get -qq update && "${get[@]}" download prometheus
}

# find_promtool prints the path of a promtool.
find_promtool() {
  local cached=.cache/bin/promtool
  if command -v promtool; then
    return
  fi
  if [ ! -x "$cached" ]; then
    (cd "$tmp" && download && dpkg-deb -x prometheus_*.deb prometheus) >&2
    mkdir -p .cache/bin
    mv "$tmp/prometheus/usr/bin/promtool" "$cached"
  fi
  echo "$cached"
}

# scrape prints the metrics; it fails while nobody listens.
scrape() (
  exec 3<>"/dev/tcp/$host/$port" || exit
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  sed '1,/^\r$/d' <&3
)

cat >"$tmp/server.properties" <<'P'
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.88.0.1:29092
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://127.88.0.1:9092,CONTROLLER://127.88.0.1:29092
advertised.listeners=INTERNAL://127.88.0.1:9092
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/nonexistent
P
cat >"$tmp/manifest.yaml" <<'P'
version: 1
cluster: promtool
listeners:
  EXTERNAL:
    bind: 127.88.0.1:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.kafka.example.com:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}, zone: "1", host: 127.88.0.1}
P
cat >"$tmp/settings.yaml" <<P
manifest: $tmp/manifest.yaml
server_properties: $tmp/server.properties
state_dir: $tmp/state
commands: {restart: ["false"], status: [sh, -c, exit 3]}
http: {listen: "$host:$port"}
P

promtool=$(find_promtool)
"$agent" run --settings "$tmp/settings.yaml" 2>"$tmp/log" &
pid=$!
for ((tries = 0; ; tries++)); do
  if scrape >"$tmp/metrics" 2>/dev/null; then
    break
  fi
  if ((tries == 300)) || ! kill -0 "$pid" 2>/dev/null; then
    echo "the agent shows no metrics; its log:" >&2
    cat "$tmp/log" >&2
    exit 1
  fi
  sleep 0.1
done
# The Go runtime's and the process's own names are not ours to judge.
grep kpls_agent_ "$tmp/metrics" >"$tmp/own"
"$promtool" check metrics <"$tmp/own"
echo "promtool has nothing to say about $(grep -c '^# TYPE' "$tmp/own") metrics"
