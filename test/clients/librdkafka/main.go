// Command librdkafka is a producer for sandbox.Program, which says what it reads
// and answers. It is librdkafka as it comes, but for acks=all, which is its default
// too. It is a module of its own since the library, linked with C, is large.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "librdkafka: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: librdkafka BOOTSTRAP TOPIC PARTITIONS RUN")
	}
	topic := args[1]
	partitions, errPartitions := strconv.Atoi(args[2])
	run, errRun := strconv.ParseUint(args[3], 10, 64)
	if err := errors.Join(errPartitions, errRun); err != nil {
		return err
	}
	producer, err := kafka.NewProducer(
		&kafka.ConfigMap{"bootstrap.servers": args[0], "acks": "all", "client.id": "librdkafka"})
	if err != nil {
		return err
	}
	out := os.Stdout // one write a line
	var answering sync.WaitGroup
	answering.Go(func() {
		for event := range producer.Events() {
			message, ok := event.(*kafka.Message)
			if !ok {
				continue // an error of a connection, which the library replaces
			}
			if err := message.TopicPartition.Error; err != nil {
				fmt.Fprintf(out, "failed %d %v\n", message.Opaque, err)
			} else {
				fmt.Fprintf(out, "acked %d\n", message.Opaque)
			}
		}
	})
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		value := make([]byte, 100)
		binary.BigEndian.PutUint64(value, run)
		binary.BigEndian.PutUint64(value[8:], uint64(n))
		err = producer.Produce(&kafka.Message{
			TopicPartition: kafka.TopicPartition{
				Topic:     &topic,
				Partition: int32(n % partitions),
			},
			Value:  value,
			Opaque: n,
		}, nil)
		if err != nil {
			fmt.Fprintf(out, "failed %d %v\n", n, err)
		}
	}
	for producer.Flush(int(time.Second.Milliseconds())) > 0 {
	}
	producer.Close()
	answering.Wait()
	return in.Err()
}
