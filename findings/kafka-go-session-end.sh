#!/usr/bin/env bash
# Question: connections.max.reauth.ms on a SASL listener of Kafka 4.4.0 (as OAUTHBEARER has by its
# tokens' life): what do clients see that do not authenticate again? Nobody restarts anything.
# Guess, written before: kafka-go's writer has failed records; each consumer continues.
# Seen (segmentio/kafka-go 0.4.51, franz-go 1.22.3, Kafka 4.4.0, PLAIN, a session of 10 s):
#  - kafka-go does not authenticate again; the broker ends each connection at the first request
#    after the session's end. Its writer connects again: no failed record.
#  - Reader.ReadMessage with a GroupID commits each record. That commit meets the ended connection,
#    and ReadMessage returns "committing message: ..." *without the record*. The loop of kafka-go's
#    README ("if err != nil { break }") ends there: the consumer stops at its first session's end.
#  - A loop that goes on after the error gets all records: the reader joins the group again and reads
#    from the last commit. (Guess: the record of the failed commit is lost.)
#  - franz-go (which authenticates again), on the same topic: each record once, no error.
#  Sarama 1.61.1, confluent-kafka 2.16.1, kafka-python 3.0.12, aiokafka 0.14.0 and kafkajs 2.2.4 (with
#  20 s) had no failed record and read all of them in a run by hand. kafkajs ends with
#  ILLEGAL_SASL_STATE where the session is not longer than its reauthenticationThreshold (10 s).
# What follows: an error of kafka-go's ReadMessage is no reason to end: go on, with a pause and a
# limit. Find out who consumes with kafka-go before connections.max.reauth.ms is set on a listener:
# a consumer written as its README says stops at the first session's end, and no broker log tells.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need go
kafka 4.4.0

mkdir "$work/client"
cd "$work/client"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	frplain "github.com/twmb/franz-go/pkg/sasl/plain"
)

const topic, seconds = "t", 36

// seen counts how often each record was read. Only its reader writes.
type seen struct {
	counts []int
	errors atomic.Int64
	last   atomic.Value
	ended  atomic.Bool
}

func (s *seen) add(value []byte) {
	if n, err := strconv.Atoi(string(value)); err == nil && n < len(s.counts) {
		s.counts[n]++
	}
}

// state is what kafka-go's reader did; goOn after an error or not, as in the README.
func read(address, group string, goOn bool) *seen {
	s := &seen{counts: make([]int, 100000)}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset,
		MaxWait: time.Second, Dialer: &kafka.Dialer{SASLMechanism: plain.Mechanism{Username: "u", Password: "p"}, Timeout: 10 * time.Second}})
	go func() {
		for {
			m, err := r.ReadMessage(context.Background())
			if err != nil {
				s.errors.Add(1)
				s.last.Store(err.Error())
				if !goOn {
					break
				}
				continue
			}
			s.add(m.Value)
		}
		s.ended.Store(true)
	}()
	return s
}

func main() {
	address := os.Args[1]
	ctx := context.Background()
	franz, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.SASL(frplain.Auth{User: "u", Pass: "p"}.AsMechanism()),
		kgo.ConsumerGroup("franz"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		panic(err)
	}
	if _, err := kadm.NewClient(franz).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		panic(err)
	}
	time.Sleep(3 * time.Second)
	other, readme, goesOn := &seen{counts: make([]int, 100000)}, read(address, "readme", false), read(address, "goes-on", true)
	go func() {
		for {
			f := franz.PollFetches(ctx)
			other.errors.Add(int64(len(f.Errors())))
			f.EachRecord(func(r *kgo.Record) { other.add(r.Value) })
		}
	}()
	w := &kafka.Writer{Addr: kafka.TCP(address), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		Transport: &kafka.Transport{SASL: plain.Mechanism{Username: "u", Password: "p"}}}
	sent, failed := 0, 0
	for begin := time.Now(); time.Since(begin) < seconds*time.Second; time.Sleep(20 * time.Millisecond) {
		if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(strconv.Itoa(sent))}); err != nil {
			failed++
		}
		sent++
	}
	time.Sleep(8 * time.Second)
	missing := func(s *seen) (n int) {
		for i := range sent {
			if s.counts[i] == 0 {
				n++
			}
		}
		return n
	}
	fmt.Println("failed=" + strconv.Itoa(failed))
	fmt.Printf("readme ended=%v\n", readme.ended.Load())
	last, _ := readme.last.Load().(string)
	fmt.Printf("readme error=%s\n", strings.SplitN(last, ":", 2)[0])
	fmt.Fprintf(os.Stderr, "sent %d; README's loop: %d not read, %q; the one that goes on: %d errors, %d not read; franz-go: %d errors, %d not read\n",
		sent, missing(readme), last, goesOn.errors.Load(), missing(goesOn), other.errors.Load(), missing(other))
	fmt.Printf("goes on ended=%v errors=%v missing=%v\n", goesOn.ended.Load(), goesOn.errors.Load() > 0, missing(goesOn))
	fmt.Printf("franz errors=%d missing=%d\n", other.errors.Load(), missing(other))
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/segmentio/kafka-go@v0.4.51 github.com/twmb/franz-go@v1.22.3 github.com/twmb/franz-go/pkg/kadm@v1.19.0 >go.log 2>&1 || { cat go.log; exit 2; }
go build -o client . || exit 2

combined "$work/node" 21392 EXTERNAL=21394
cat >>"$work/node/server.properties" <<'PROPERTIES'
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:SASL_PLAINTEXT
listener.name.external.sasl.enabled.mechanisms=PLAIN
listener.name.external.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_u="p";
listener.name.external.plain.connections.max.reauth.ms=10000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
PROPERTIES
start "$work/node"
wait_for 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/21394'
./client 127.0.0.1:21394 >answer
value() { sed -n "s/^$1//p" answer; }
expect "kafka-go's writer, failed records" 0 "$(value failed=)"
expect "kafka-go, the README's loop has ended" true "$(value 'readme ended=')"
expect "kafka-go, its error" "committing message" "$(value 'readme error=')"
expect "kafka-go, a loop that goes on" "ended=false errors=true missing=0" "$(value 'goes on ')"
expect franz-go "errors=0 missing=0" "$(value 'franz ')"
finish
