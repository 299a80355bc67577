#!/usr/bin/env bash
# Question: something between client and broker (a private link, a NAT, a firewall) forgets a connection that carried
# nothing for a while, and drops what comes later without a word. What becomes of a producer's first record then?
# Guess, written before: it is delivered once the client's request has timed out: Kafka's Java client 30 s, aiokafka
# 40 s, kafkajs 30 s, confluent-kafka 30 to 60 s. net.ipv4.tcp_keepalive_time on the broker's host, below the middle's
# limit, cures all: Kafka asks for keep-alive on each connection it accepts.
# Seen (Kafka 4.4.0, Linux 6.18; a limit of 20 s, 60 s without a record; all defaults, acks=all):
#  - confluent-kafka 2.16.1 and the Java client 4.4.0 deliver after 60 s: the Java client first waits for its request,
#    then as long for the metadata, over its other connection, which is as dead.
#  - aiokafka 0.14.0: *failed* after 40 s (RequestTimedOutError): a record's own time ends with its request's.
#  - kafkajs 2.2.4: *failed* after 190 s: it keeps the dead connection after a time-out, and tries six times over it.
#    The next record gets stuck in it, too (tulios/kafkajs#919, open).
#  - tcp_keepalive_time=10 on the broker's host changes nothing: Linux sends the first probe after these 10 s, and the
#    next one tcp_keepalive_intvl (75 s) later, even if the first was answered. Both at 10: each record at once.
#  By hand: at once with Sarama 1.61.1, franz-go 1.22.3 and kafka-go 0.4.51 (Go has a keep-alive of 15 s); after 30 s
#  with kafka-python 3.0.12 and @platformatic/kafka 2.12.1. Where the middle answers with a RST instead of nothing, each
#  of these delivers within a second. kafkajs has a keep-alive of 60 s: with a limit of 80 s, after 100 s, it delivers
#  at once, and aiokafka fails as before.
# What follows: on each broker's host, net.ipv4.tcp_keepalive_time and tcp_keepalive_intvl, both well below the shortest
# limit in between; Kafka has to be restarted once. No client needs a setting for it then.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need unshare nsenter ip nft sysctl python3 npm node javac
[ "$(id -u)" = 0 ] || { say "this needs root, for networks of its own"; exit 2; }
kafka 4.4.0

# space: makes a network of its own, which goes with the process $space.
space() {
  unshare --net sleep infinity &
  space=$!
  children+=("$space")
  wait_for 5 apart "$space"
  at "$space" ip link set lo up
}
# shellcheck disable=SC2317 # wait_for calls it
apart() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
at() { local s=$1; shift; nsenter -t "$s" -n "$@"; }

# client 10.99.1.2 - middle - 10.99.2.2 broker
space; client=$space
space; middle=$space
space; broker=$space
n=1
for side in "$client" "$broker"; do
  at "$middle" ip link add "side$n" type veth peer name e0 netns "$side"
  at "$middle" ip address add "10.99.$n.1/24" dev "side$n"
  at "$middle" ip link set "side$n" up
  at "$side" ip address add "10.99.$n.2/24" dev e0
  at "$side" ip link set e0 up
  at "$side" ip route add default via "10.99.$n.1"
  n=2
done
at "$middle" nft -f - <<'NFT'
table ip middle {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established accept
    tcp flags & (syn | ack) == syn accept
  }
}
NFT
at "$middle" sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_timeout_established=20 \
  net.netfilter.nf_conntrack_tcp_loose=0

mkdir "$work/clients"
cd "$work/clients"
python3 -m venv python
python/bin/pip install -q aiokafka==0.14.0 confluent-kafka==2.16.1 >pip.log 2>&1 || { cat pip.log; exit 2; }
npm init -y >/dev/null
npm install --silent kafkajs@2.2.4 >npm.log 2>&1 || { cat npm.log; exit 2; }
# Each sends a record, waits for 60 s, sends another one and prints what became of it and when.
cat >aio.py <<'PY'
import asyncio, time
from aiokafka import AIOKafkaProducer

async def main():
    p = AIOKafkaProducer(bootstrap_servers="10.99.2.2:22502", acks="all")
    await p.start()
    await p.send_and_wait("t", b"first")
    await asyncio.sleep(60)
    begin, what = time.time(), "delivered"
    try:
        await p.send_and_wait("t", b"second")
    except Exception as e:
        what = "failed"
    print(what, int(time.time() - begin))

asyncio.run(main())
PY
cat >confluent.py <<'PY'
import time
from confluent_kafka import Producer

p = Producer({"bootstrap.servers": "10.99.2.2:22502"})
what = []
def send(value):
    p.produce("t", value, on_delivery=lambda error, message: what.append("failed" if error else "delivered"))
    p.flush()
send("first")
end = time.time() + 60
while time.time() < end:
    p.poll(0.5)
begin = time.time()
send("second")
print(what[-1], int(time.time() - begin))
PY
cat >kafkajs.js <<'JS'
const { Kafka, logLevel } = require('kafkajs')
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const p = new Kafka({ brokers: ['10.99.2.2:22502'], logLevel: logLevel.NOTHING }).producer()
const send = value => p.send({ topic: 't', messages: [{ value }] }).then(() => 'delivered', () => 'failed')
;(async () => {
  await p.connect()
  await send('first')
  await sleep(60000)
  const begin = Date.now()
  const what = await send('second')
  console.log(what, Math.floor((Date.now() - begin) / 1000))
  console.log('next', await Promise.race([send('third'), sleep(20000).then(() => 'waits')]))
  process.exit(0)
})()
JS
cat >J.java <<'JAVA'
import java.util.Map;
import org.apache.kafka.clients.producer.*;

class J {
  public static void main(String[] args) throws Exception {
    var s = new org.apache.kafka.common.serialization.StringSerializer();
    var p = new KafkaProducer<String, String>(Map.of("bootstrap.servers", "10.99.2.2:22502"), s, s);
    p.send(new ProducerRecord<>("t", "first")).get();
    Thread.sleep(60000);
    long begin = System.currentTimeMillis();
    String what = "delivered";
    try {
      p.send(new ProducerRecord<>("t", "second")).get();
    } catch (Exception e) {
      what = "failed";
    }
    System.out.println(what + " " + (System.currentTimeMillis() - begin) / 1000);
    System.exit(0);
  }
}
JAVA
javac -cp "$libs" J.java

combined "$work/node" 22500 EXTERNAL=22502
sed -i 's|EXTERNAL://127.0.0.1|EXTERNAL://10.99.2.2|g' "$work/node/server.properties"
echo num.partitions=1 >>"$work/node/server.properties"
# start_there: as start, in the broker's network.
start_there() {
  (exec nsenter -t "$broker" -n java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${libs%/\*}:$libs" \
    kafka.Kafka "$work/node/server.properties") >>"$work/node/log" 2>&1 &
  node=$!
  children+=("$node")
  wait_for 90 at "$client" bash -c ': </dev/tcp/10.99.2.2/22502'
}

# idle NAME...: prints what became of each client's record, and how long it took.
idle() {
  local name pids=() command
  for name in "$@"; do
    case $name in
      aiokafka) command=(python/bin/python aio.py) ;;
      confluent-kafka) command=(python/bin/python confluent.py) ;;
      kafkajs) command=(node kafkajs.js) ;;
      Java) command=(java -cp "$libs:." J) ;;
    esac
    nsenter -t "$client" -n "${command[@]}" >"$name.answer" 2>"$name.error" &
    pids+=($!)
  done
  wait "${pids[@]}" || true
  for name in "$@"; do
    awk -v n="$name" '
      $1 == "next" { print n ", the next one: " $2; next }
      { t = "after 120 s or more" }
      $2 < 120 { t = "after 50 s or more" }
      $2 < 50 { t = "after 25 s or more" }
      $2 < 25 { t = "soon" }
      $2 < 10 { t = "at once" }
      { print n ": " $1 ", " t }
    ' "$name.answer"
  done
}

start_there
expect "first record" "aiokafka: failed, after 25 s or more
confluent-kafka: delivered, after 50 s or more
kafkajs: failed, after 120 s or more
kafkajs, the next one: waits
Java: delivered, after 50 s or more" "$(idle aiokafka confluent-kafka kafkajs Java)"
stop
at "$broker" sysctl -qw net.ipv4.tcp_keepalive_time=10
start_there
expect "tcp_keepalive_time=10" "aiokafka: failed, after 25 s or more" "$(idle aiokafka)"
stop
at "$broker" sysctl -qw net.ipv4.tcp_keepalive_intvl=10
start_there
expect "tcp_keepalive_intvl=10, too" "aiokafka: delivered, at once
confluent-kafka: delivered, at once
kafkajs: delivered, at once
kafkajs, the next one: delivered
Java: delivered, at once" "$(idle aiokafka confluent-kafka kafkajs Java)"
finish
