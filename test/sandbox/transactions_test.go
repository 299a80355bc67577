package sandbox

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client whose records are never answered is given up: its records have failed,
// and closing it ends what waits.
func TestTransactionsGiveUp(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	back := make(chan struct{})
	defer close(back)
	c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-back })
		return nil, nil, false
	})
	load := NewTransactions(LoadOptions{Bootstrap: c.ListenAddrs(), Topic: "orders", Partitions: 1})
	producer, err := load.opts.client(kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	n := load.book.create()
	if load.transact(ctx, producer, []int{n}) {
		t.Error("it goes on with a client that sends nothing")
	}
	producer.Close()
	if f := load.Figures(); f.Failed != 1 || f.Acked != 0 {
		t.Errorf("%+v", f)
	}
}
