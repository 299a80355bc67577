package main

import (
	"context"
	"errors"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// cluster turns what Kafka answers into what restart decides on.
type cluster struct {
	client *kafka.Client
	store  *store
	vm     *settings.Settings
	node   node
	other  otherBroker
}

// newCluster asks through a client of this VM's broker.
func newCluster(vm *settings.Settings, n node, st *store, client *kafka.Client) *cluster {
	return &cluster{client: client, store: st, vm: vm, node: n}
}

// process is what the own broker's process said of itself.
type process struct {
	version   config.Version // zero where it was not asked
	listeners []config.Effective
	values    map[string]config.RunningValue // every property, by name
}

// Observe implements agent.Cluster.
func (c *cluster) Observe(ctx context.Context) restart.ClusterFacts { return c.client.Observe(ctx) }

// Ask asks this VM's broker what its process runs. The process is empty where the facts have an error.
func (c *cluster) Ask(ctx context.Context) (restart.RunningFacts, process) {
	f := restart.RunningFacts{At: time.Now()}
	fail := func(err error) (restart.RunningFacts, process) {
		f.Err = err.Error()
		return f, process{}
	}
	entries, err := c.client.BrokerConfig(ctx)
	if err != nil {
		return fail(c.other.explain(ctx, c.vm, c.node, err))
	}
	p := process{values: runningValues(entries)}
	if p.listeners, err = config.RunningListeners(p.values); err != nil {
		return fail(err)
	}
	if f.Listeners, err = config.RunningFingerprints(p.values); err != nil {
		return fail(err)
	}
	var desired config.Desired
	if m, _ := c.store.get(); m != nil {
		desired, _ = m.For(c.node.BrokerID) // a broker that is not in the manifest is refused elsewhere
	}
	f.Dynamic = config.DynamicOverrides(p.values, desired)
	for _, d := range config.Dropped(p.values) {
		f.Dropped = append(f.Dropped, restart.Dropped(d))
	}
	if dirs, err := c.client.LogDirs(ctx); err != nil {
		f.LogDirsErr = err.Error()
	} else {
		f.LogDirs = logDirFacts(dirs, p.values, c.vm.Storage, lookAt)
	}
	if p.version, err = c.version(ctx); err != nil {
		return fail(err)
	}
	return f, p
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
