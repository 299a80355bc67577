package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
)

// cluster turns what Kafka answers into what restart decides on.
type cluster struct {
	client *kafka.Client
	store  *store
	id     int32
	// learned is called with what the own broker's process runs.
	learned func(config.Version, []config.Effective)

	mu  sync.Mutex
	raw map[string]config.RunningValue
}

var _ restart.Cluster = (*cluster)(nil)

// Observe implements restart.Cluster.
func (c *cluster) Observe(ctx context.Context) restart.ClusterFacts { return c.client.Observe(ctx) }

// Running implements restart.Cluster.
func (c *cluster) Running(ctx context.Context) restart.RunningFacts {
	f := restart.RunningFacts{At: time.Now()}
	entries, err := c.client.BrokerConfig(ctx)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	raw := runningValues(entries)
	listeners, err := config.RunningListeners(raw)
	if err == nil {
		f.Listeners, err = config.RunningFingerprints(raw)
	}
	if err != nil {
		f.Err = err.Error()
		return f
	}
	var desired config.Desired
	if m, _ := c.store.get(); m != nil {
		desired, _ = m.For(c.id) // a broker that is not in the manifest is refused elsewhere
	}
	f.Dynamic = config.DynamicOverrides(raw, desired)
	version, err := c.version(ctx)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	c.mu.Lock()
	c.raw = raw
	c.mu.Unlock()
	c.learned(version, listeners)
	return f
}

func runningValues(entries map[string]kafka.Entry) map[string]config.RunningValue {
	raw := make(map[string]config.RunningValue, len(entries))
	for name, e := range entries {
		raw[name] = config.RunningValue{Value: e.Value, Hidden: e.Hidden, Dynamic: e.Dynamic}
	}
	return raw
}

func (c *cluster) version(ctx context.Context) (config.Version, error) {
	text, err := c.client.Version(ctx)
	if err != nil {
		return config.Version{}, err
	}
	if text == "" {
		return config.Version{}, nil
	}
	v, err := config.ParseVersion(text)
	if err != nil {
		return config.Version{}, errors.Join(errors.New("the broker's version is not understood"), err)
	}
	return v, nil
}
