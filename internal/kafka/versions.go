package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// versionsAtOnce is how many brokers are asked for their version at the same time.
const versionsAtOnce = 8

// errNoVersion is of a broker that supports what no known release does.
var errNoVersion = errors.New("it supports what no known release of Kafka does")

// Versions returns the Kafka version of each broker that is alive, as [Client.Version] has that of the own one, and for
// the others why they do not tell it. A broker answers this before any login, and each gets a connection of its own:
// in a cluster of many brokers this is no question to ask often.
func (c *Client) Versions(ctx context.Context) (versions map[int32]string, unseen map[int32]error, err error) {
	alive, err := c.Brokers(ctx)
	if err != nil {
		return nil, nil, err
	}
	versions, unseen = map[int32]string{}, map[int32]error{}
	var (
		mu    sync.Mutex
		asked sync.WaitGroup
		slots = make(chan struct{}, versionsAtOnce)
	)
	for _, id := range alive {
		asked.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			version, err := c.versionOf(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unseen[id] = explain(fmt.Errorf("ask broker %d for its version: %w", id, err))
				return
			}
			versions[id] = version
		})
	}
	asked.Wait()
	return versions, unseen, nil
}

func (c *Client) versionOf(ctx context.Context, broker int32) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	w, err := c.connect(ctx, broker)
	if err != nil {
		return "", err
	}
	defer w.close()
	if w.release == "" {
		return "", errNoVersion
	}
	return w.release, nil
}
