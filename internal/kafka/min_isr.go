package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
)

const keyMinISR = "min.insync.replicas"

// minISR asks for min.insync.replicas of every topic of every view, and of the brokers that
// gave the views. A topic that is missing in the result was deleted meanwhile.
func (c *Client) minISR(ctx context.Context, broker int32, f *restart.ClusterFacts) error {
	brief, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	values, err := c.topicConfigs(brief, broker, keyMinISR, topicsOf(f.Views)...)
	if err != nil {
		return fmt.Errorf("ask broker %d for %s: %w", broker, keyMinISR, err)
	}
	strictest := 0
	for _, v := range f.Views {
		n, err := c.brokerMinISR(ctx, v.Broker)
		if err != nil {
			return fmt.Errorf("ask broker %d for its %s: %w", v.Broker, keyMinISR, err)
		}
		strictest = max(strictest, n)
	}
	f.MinISR, f.StrictISR, err = minISROf(values, strictest)
	return err
}

// minISROf splits the topics' values into what is in force, and what is more than that
// where the cluster decides: strictest is the highest of its levels.
func minISROf(values map[string]topicValue, strictest int) (inForce, strict map[string]int, err error) {
	inForce = make(map[string]int, len(values))
	for name, v := range values {
		n, err := strconv.Atoi(v.value)
		if err != nil {
			return nil, nil, fmt.Errorf("topic %s: %s: %w", name, keyMinISR, err)
		}
		inForce[name] = n
		if !v.own && strictest > n {
			if strict == nil {
				strict = map[string]int{}
			}
			strict[name] = strictest
		}
	}
	return inForce, strict, nil
}

// topicsOf names the topics of all views, each once.
func topicsOf(views []restart.BrokerView) []string {
	var names []string
	for _, t := range views[0].Topics {
		names = append(names, t.Name)
	}
	for _, v := range views[1:] {
		for _, t := range v.Topics {
			if _, ok := slices.BinarySearch(names[:len(views[0].Topics)], t.Name); !ok {
				names = append(names, t.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// brokerMinISR returns the highest min.insync.replicas that anybody has set for a broker, in
// force or not: a controller goes by the dynamic ones even where the broker has refused them,
// and a broker that leads next by its own file.
func (c *Client) brokerMinISR(ctx context.Context, broker int32) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(broker))
	r.ConfigNames = []string{keyMinISR}
	req.Resources = append(req.Resources, r)
	resp, err := to[*kmsg.DescribeConfigsResponse](ctx, c.kgo, broker, req)
	if err != nil {
		return 0, err
	}
	entries, err := brokerEntries(resp, r.ResourceName)
	if err != nil {
		return 0, needs(err, seesBrokers)
	}
	e := entries[keyMinISR]
	highest := 0
	for _, s := range append(e.Synonyms, Synonym{Name: keyMinISR, Value: e.Value}) {
		if n, err := strconv.Atoi(s.Value); err == nil && s.Name == keyMinISR {
			highest = max(highest, n)
		}
	}
	return highest, nil
}

// topicValue is a topic's value of a property; own is true if the topic sets it itself.
type topicValue struct {
	value string
	own   bool
}

// topicConfigs returns the effective value of one property of topics, in one
// request. A topic that does not exist is left out.
func (c *Client) topicConfigs(
	ctx context.Context, broker int32, property string, topics ...string,
) (map[string]topicValue, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	if err := c.mayAsk(ctx, broker, configOf(topics[0])); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, t, []string{property}
		req.Resources = append(req.Resources, r)
	}
	resp, err := to[*kmsg.DescribeConfigsResponse](ctx, c.kgo, broker, req)
	if err != nil {
		return nil, err
	}
	return valuesOf(resp, property)
}

// valuesOf takes one property of each topic out of an answer.
func valuesOf(resp *kmsg.DescribeConfigsResponse, property string) (map[string]topicValue, error) {
	out := make(map[string]topicValue, len(resp.Resources))
	for _, r := range resp.Resources {
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			continue
		case err != nil:
			return nil, fmt.Errorf("topic %s: %w", r.ResourceName, needs(err, readsTopics))
		}
		for _, cfg := range r.Configs {
			if cfg.Name == property && cfg.Value != nil {
				out[r.ResourceName] = topicValue{*cfg.Value, cfg.Source == kmsg.ConfigSourceDynamicTopicConfig}
			}
		}
	}
	return out, nil
}
