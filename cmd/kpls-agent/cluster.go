package main

import (
	"context"
	"errors"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// cluster turns what Kafka answers into what restart decides on.
type cluster struct {
	client  *kafka.Client
	store   *store
	id      int32
	storage settings.Storage
	whose   whose
	// learned is called with what the own broker's process runs.
	learned func(process)
}

// process is what the own broker's process said of itself.
type process struct {
	version   config.Version // zero where it was not asked
	listeners []config.Effective
	values    map[string]config.RunningValue // every property, by name
}

var _ agent.Cluster = (*cluster)(nil)

// Observe implements agent.Cluster.
func (c *cluster) Observe(ctx context.Context) restart.ClusterFacts { return c.client.Observe(ctx) }

// Running implements agent.Cluster.
func (c *cluster) Running(ctx context.Context) restart.RunningFacts {
	f := restart.RunningFacts{At: time.Now()}
	entries, err := c.client.BrokerConfig(ctx)
	if err != nil {
		f.Err = c.whose.explain(ctx, err).Error()
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
	for _, d := range config.Dropped(raw) {
		f.Dropped = append(f.Dropped, restart.Dropped(d))
	}
	if dirs, err := c.client.LogDirs(ctx); err != nil {
		f.LogDirsErr = err.Error()
	} else {
		f.LogDirs = logDirFacts(dirs, raw, c.storage, lookAt)
	}
	version, err := c.version(ctx)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	c.learned(process{version, listeners, raw})
	return f
}

// learn asks once what the process runs, whatever the loop waits for: a loop that has a
// refusal does not ask, and the probes are judged by what the process has, not by what
// the manifest wants of it.
func (c *cluster) learn(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for c.Running(ctx).Err != "" {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func runningValues(entries map[string]kafka.Entry) map[string]config.RunningValue {
	raw := make(map[string]config.RunningValue, len(entries))
	for name, e := range entries {
		v := config.RunningValue{Value: e.Value, Hidden: e.Hidden, Dynamic: e.Dynamic, Type: e.Type}
		for _, s := range e.Synonyms {
			v.Settings = append(v.Settings, config.Setting{Name: s.Name, Source: sourceOf(s.Source), Value: s.Value, Secret: s.Null})
		}
		raw[name] = v
	}
	return raw
}

func sourceOf(s kafka.Source) config.Source {
	switch s {
	case kafka.SourceDynamicBroker:
		return config.SourceDynamicBroker
	case kafka.SourceDynamicDefault:
		return config.SourceDynamicDefault
	case kafka.SourceStatic:
		return config.SourceStatic
	case kafka.SourceDefault:
		return config.SourceDefault
	case kafka.SourceOther:
	}
	return config.SourceOther
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
