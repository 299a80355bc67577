package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
)

// own is the way to this agent's own broker, by its address and not by what
// the cluster says of it: just now the cluster may know nothing of it.
type own struct {
	addr string
	dial DialFunc
	mech sasl.Mechanism
	m    *Metrics

	mu   sync.Mutex // held through a question: they are asked one after another
	wire *wire
}

// do runs f on the connection. A connection from before is tried first, and a
// new one if that has died since.
func (o *own) do(ctx context.Context, f func(*wire) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addr == "" {
		return errors.New("the address of the own broker is not known")
	}
	if o.wire != nil {
		err := f(o.wire)
		if err == nil || ctx.Err() != nil || kafkaError(err) {
			return o.keep(err)
		}
		o.drop()
	}
	w, err := connect(ctx, o.dial, o.addr, o.m)
	if err != nil {
		return err
	}
	o.wire = w
	if err = w.login(ctx, o.mech); err != nil {
		o.drop()
		return err
	}
	return o.keep(f(w))
}

// keep drops the connection after anything but an answer.
func (o *own) keep(err error) error {
	if err != nil && !kafkaError(err) {
		o.drop()
	}
	return err
}

func (o *own) drop() {
	if o.wire != nil {
		o.wire.close()
		o.wire = nil
	}
}

func (o *own) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// kafkaError is true for an answer that is an error of Kafka's own.
func kafkaError(err error) bool {
	var k *kerr.Error
	return errors.As(err, &k)
}

// Entry is one property of a broker's running configuration.
type Entry struct {
	Value string
	// Null is true for a property without a value, Hidden for one whose value
	// Kafka does not show (passwords, and all names it does not know).
	Null, Hidden bool
	// Dynamic is true if a dynamic configuration of this broker, or of all
	// brokers, sets the property; it wins over the file. Static is true if the
	// file that the process read at its start sets it. Both can be.
	Dynamic, Static bool
	// Type is Kafka's type of the property as kmsg.ConfigType names it, such as INT; UNKNOWN for none.
	Type string
	// Synonyms are all values that were set for the property, and for those it falls back on,
	// the one that should win first. A dynamic one need not be in force.
	Synonyms []Synonym
}

// Synonym is one value that was set for a property. Value is as it was written, empty where
// Kafka does not tell it.
type Synonym struct {
	Name, Value string
	Null        bool
	Source      Source
}

// Source says who set a value of a broker's property.
type Source int

// The sources. SourceOther is any that only topics, groups and loggers have.
const (
	SourceOther          Source = iota
	SourceDynamicBroker         // kafka-configs --entity-name
	SourceDynamicDefault        // kafka-configs --entity-default
	SourceStatic                // server.properties, or --override of the command line
	SourceDefault               // Kafka's own
)

func sourceOf(s kmsg.ConfigSource) Source {
	switch s {
	case kmsg.ConfigSourceDynamicBrokerConfig:
		return SourceDynamicBroker
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return SourceDynamicDefault
	case kmsg.ConfigSourceStaticBrokerConfig:
		return SourceStatic
	case kmsg.ConfigSourceDefaultConfig:
		return SourceDefault
	default:
		return SourceOther
	}
}

// BrokerConfig returns what the own broker's process runs with, by property,
// from its own memory and not from the file (ConfigHelper.scala).
func (c *Client) BrokerConfig(ctx context.Context) (map[string]Entry, error) {
	name := strconv.Itoa(int(c.opts.Self))
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, name
	req.Resources = append(req.Resources, resource)

	var entries map[string]Entry
	err := c.own.do(ctx, func(w *wire) error {
		resp, err := ask[*kmsg.DescribeConfigsResponse](ctx, w, req)
		if err != nil {
			return err
		}
		entries, err = brokerEntries(resp, name)
		return needs(err, seesBrokers)
	})
	if other, is := errors.AsType[*OtherBrokerError](err); is {
		other.Addr, other.Want = c.opts.OwnAddress, c.opts.Self
		return nil, other
	}
	if err != nil {
		return nil, explain(fmt.Errorf("ask broker %s at %s for its configuration: %w", name, c.opts.OwnAddress, err))
	}
	return entries, nil
}

func brokerEntries(resp *kmsg.DescribeConfigsResponse, name string) (map[string]Entry, error) {
	for _, r := range resp.Resources {
		if r.ResourceType != kmsg.ConfigResourceTypeBroker || r.ResourceName != name {
			continue
		}
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case errors.Is(err, kerr.InvalidRequest):
			return nil, otherBroker(r.ErrorMessage)
		case err != nil:
			return nil, err
		}
		entries := make(map[string]Entry, len(r.Configs))
		for _, cfg := range r.Configs {
			entries[cfg.Name] = entry(cfg)
		}
		return entries, nil
	}
	return nil, errors.New("the answer does not have the broker")
}

func entry(cfg kmsg.DescribeConfigsResponseResourceConfig) Entry {
	e := Entry{Hidden: cfg.IsSensitive, Null: cfg.Value == nil && !cfg.IsSensitive, Type: cfg.ConfigType.String()}
	if cfg.Value != nil && !cfg.IsSensitive {
		e.Value = *cfg.Value
	}
	source := func(s kmsg.ConfigSource) {
		switch sourceOf(s) {
		case SourceDynamicBroker, SourceDynamicDefault:
			e.Dynamic = true
		case SourceStatic:
			e.Static = true
		case SourceDefault, SourceOther:
		}
	}
	source(cfg.Source)
	for _, s := range cfg.ConfigSynonyms {
		e.Synonyms = append(e.Synonyms,
			Synonym{Name: s.Name, Value: deref(s.Value), Null: s.Value == nil, Source: sourceOf(s.Source)})
		if s.Name == cfg.Name { // other names are what Kafka would fall back on
			source(s.Source)
		}
	}
	return e
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// releases are the highest metadata.version levels that releases of Kafka
// support (MetadataVersion.java, LATEST_PRODUCTION), newest first: no answer
// of a broker has its version.
var releases = []struct {
	level   int16
	version string
}{
	{31, "4.4"},
	{30, "4.3"},
	{28, "4.2"},
	{26, "4.1"},
	{22, "4.0"},
	{21, "3.9"},
	{20, "3.8"},
	{15, "3.7"},
	{12, "3.6"},
	{9, "3.5"},
	{8, "3.4"},
	{4, "3.3"},
}

// newestLevel is the highest metadata.version of the newest of them, 4.4.0.
const newestLevel = 33

// Newer marks the version of a release that is newer than all that are known here.
const Newer = "+"

// Version returns the own broker's Kafka version, major and minor ("3.7"). A
// release that this agent is older than is taken for the newest it knows, with [Newer] behind it. It is
// asked once for each connection, and so for each start of the process.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version string
	err := c.own.do(ctx, func(w *wire) error {
		version = w.release
		return nil
	})
	if err != nil {
		return "", explain(fmt.Errorf("ask the broker at %s for its version: %w", c.opts.OwnAddress, err))
	}
	if version == "" {
		return "", fmt.Errorf(
			"the broker at %s supports what no known release of Kafka does; name its version in the agent's settings",
			c.opts.OwnAddress)
	}
	return version, nil
}

func release(hello *kmsg.ApiVersionsResponse) string {
	for _, f := range hello.SupportedFeatures {
		if f.Name != "metadata.version" {
			continue
		}
		for _, r := range releases {
			switch {
			case f.MaxVersion > newestLevel:
				return r.version + Newer
			case f.MaxVersion >= r.level:
				return r.version
			}
		}
	}
	// A broker in ZooKeeper mode has no such feature: guess by its requests.
	guess, ok := strings.CutPrefix(kversion.FromApiVersionsResponse(hello).VersionGuess(), "v")
	if !ok {
		return ""
	}
	return guess
}
