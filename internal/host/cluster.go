package host

import (
	"context"
	"errors"
	"maps"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// Cluster turns what Kafka answers into what restart decides on.
type Cluster struct {
	client *kafka.Client
	store  *Store
	vm     *settings.Settings
	node   Node
	other  otherBroker
}

// NewCluster asks through a client of this VM's broker.
func NewCluster(vm *settings.Settings, n Node, st *Store, client *kafka.Client) *Cluster {
	return &Cluster{client: client, store: st, vm: vm, node: n}
}

// Process is what the own broker's process said of itself.
type Process struct {
	Version   config.Version // zero where it was not asked
	Listeners []config.Effective
	Values    map[string]config.RunningValue // every property, by name
	// Cordoned are the log directories that get no new partition (KIP-1066), Open the others.
	Cordoned, Open []string
}

// Observe implements agent.Cluster.
func (c *Cluster) Observe(ctx context.Context) restart.ClusterFacts { return c.client.Observe(ctx) }

// Ask asks this VM's broker what its process runs. The process is empty where the facts have an error.
func (c *Cluster) Ask(ctx context.Context) (restart.RunningFacts, Process) {
	f := restart.RunningFacts{At: time.Now()}
	fail := func(err error) (restart.RunningFacts, Process) {
		f.Err = err.Error()
		return f, Process{}
	}
	entries, err := c.client.BrokerConfig(ctx)
	if err != nil {
		if kafka.NobodyListens(err) {
			f.NobodyListens = time.Now()
		}
		return fail(c.other.explain(ctx, c.vm, c.node, err))
	}
	p := Process{Values: RunningValues(entries)}
	if p.Listeners, err = config.RunningListeners(p.Values); err != nil {
		return fail(err)
	}
	if f.Listeners, err = config.RunningFingerprints(p.Values); err != nil {
		return fail(err)
	}
	maps.Copy(f.Listeners, config.RunningBrokerProperties(p.Values))
	var desired config.Desired
	if m, _ := c.store.Get(); m != nil {
		desired, _ = m.For(c.node.BrokerID) // a broker that is not in the manifest is refused elsewhere
	}
	f.Dynamic = config.DynamicOverrides(p.Values, desired)
	for _, d := range config.Dropped(p.Values) {
		f.Dropped = append(f.Dropped, restart.Dropped(d))
	}
	if dirs, err := c.client.LogDirs(ctx); err != nil {
		f.LogDirsErr = err.Error()
	} else {
		f.LogDirs = logDirFacts(dirs, p.Values, c.vm.Storage, lookAt)
		for _, d := range dirs {
			if d.Cordoned {
				p.Cordoned = append(p.Cordoned, d.Path)
			} else {
				p.Open = append(p.Open, d.Path)
			}
		}
	}
	if p.Version, err = c.version(ctx); err != nil {
		return fail(err)
	}
	return f, p
}

// RunningValues are the entries of DescribeConfigs for this broker as internal/config reads them.
func RunningValues(entries map[string]kafka.Entry) map[string]config.RunningValue {
	raw := make(map[string]config.RunningValue, len(entries))
	for name, e := range entries {
		v := config.RunningValue{Value: e.Value, Hidden: e.Hidden, Dynamic: e.Dynamic, Type: e.Type}
		for _, s := range e.Synonyms {
			v.Settings = append(v.Settings, config.Setting{
				Name: s.Name, Source: sourceOf(s.Source), Value: s.Value,
				Secret: s.Null,
			})
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

func (c *Cluster) version(ctx context.Context) (config.Version, error) {
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
