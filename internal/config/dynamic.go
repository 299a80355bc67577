package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// DroppedSetting is a dynamic setting that the process does not have in force.
type DroppedSetting struct {
	Name, Level, Dynamic, InForce string
}

// Dropped returns, by name, the dynamic settings that the process does not have in force.
// A broker that refuses one of them at its start refuses all of that level, and goes on to
// show them as set (DynamicBrokerConfig.updateDefaultConfig keeps them before it applies them).
func Dropped(entries map[string]RunningValue) []DroppedSetting {
	var out []DroppedSetting
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		v := entries[name]
		first, ok := v.winner(name)
		switch {
		case !ok, v.Hidden, first.Secret, placeholder(first.Value),
			sameValue(v.Type, first.Value, v.Value), replaced(name, entries):
			continue
		}
		out = append(out, DroppedSetting{name, first.Source.level(), first.Value, v.Value})
	}
	return out
}

// winner is the dynamic setting that should be in force.
func (v RunningValue) winner(name string) (Setting, bool) {
	if s, ok := v.set(name, SourceDynamicBroker); ok {
		return s, true
	}
	return v.set(name, SourceDynamicDefault)
}

// oneOfMany are properties of which one replaces the others, at whatever level it is set
// (brokerConfigSynonyms in DynamicBrokerConfig).
var oneOfMany = [][]string{
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
}

// replaced is true if another property that means the same is dynamic as well. Which one of
// them counts is Kafka's affair.
func replaced(name string, entries map[string]RunningValue) bool {
	for _, family := range oneOfMany {
		if slices.Contains(family, name) {
			return slices.ContainsFunc(family, func(other string) bool {
				_, dynamic := entries[other].winner(other)
				return other != name && dynamic
			})
		}
	}
	return false
}

// DropAhead is a dynamic thread count that Kafka would refuse at its next start.
type DropAhead struct {
	Name, Level, Dynamic, File, Fix string
}

// threadCounts are the properties for which Kafka accepts a dynamic value only if it is at
// most twice, and at least half, of the one in force: DynamicThreadPool, DataPlaneAcceptor,
// LogCleaner and, since 4.x, DynamicRemoteLogConfig, all in validateReconfiguration. At its
// start a broker has what the file says in force, whatever steps led to the dynamic value
// (KAFKA-20890).
var threadCounts = []string{
	"background.threads", "log.cleaner.threads", "num.io.threads", keyNetworkThreads,
	"num.recovery.threads.per.data.dir", "num.replica.fetchers",
	"remote.log.manager.copier.thread.pool.size", "remote.log.manager.expiration.thread.pool.size",
	"remote.log.manager.follower.thread.pool.size", "remote.log.reader.threads",
}

const keyNetworkThreads = "num.network.threads"

// DropsAhead returns, by name, the dynamic thread counts that Kafka would refuse at a start
// with this file, and with each of them all dynamic settings of its level. Nothing is said of
// counts that cannot be read: `${...}`, or no number.
func DropsAhead(entries map[string]RunningValue, file *Properties) []DropAhead {
	var out []DropAhead
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if base, ok := threadCount(name); ok {
			if d, ok := dropAhead(name, base, entries, file); ok {
				out = append(out, d)
			}
		}
	}
	return out
}

// threadCount is true for a thread count; base is its name without a listener's prefix.
func threadCount(name string) (base string, ok bool) {
	if rest, ok := strings.CutPrefix(name, prefixListener); ok {
		_, base, _ = strings.Cut(rest, ".")
		return base, base == keyNetworkThreads
	}
	return name, slices.Contains(threadCounts, name)
}

func dropAhead(name, base string, entries map[string]RunningValue, file *Properties) (DropAhead, bool) {
	v := entries[name]
	written, start, ok := startCount(name, base, entries, file)
	if !ok {
		return DropAhead{}, false
	}
	d := DropAhead{Name: name, File: written}
	byBroker, onBroker := count(v.set(name, SourceDynamicBroker))
	byDefault, onDefault := count(v.set(name, SourceDynamicDefault))
	safe := func(from int) bool {
		switch {
		case onBroker && onDefault:
			// Which of the levels is applied first is not certain, and the second is
			// compared with what the first has made of it.
			return accepts(from, byBroker) && (!accepts(from, byDefault) || accepts(byDefault, byBroker))
		case onBroker:
			return accepts(from, byBroker)
		default:
			return accepts(from, byDefault)
		}
	}
	want := byBroker
	d.Level = SourceDynamicBroker.level()
	if !onBroker {
		want, d.Level = byDefault, SourceDynamicDefault.level()
	}
	if !onBroker && !onDefault || safe(start) {
		return DropAhead{}, false
	}
	d.Dynamic = strconv.Itoa(want)
	fix := want
	for n := want + 1; !safe(fix) && n <= 4*want; n++ { // both levels are set, and the one does not lead to the other
		fix = n
	}
	d.Fix = fmt.Sprintf("%s=%d", name, fix)
	return d, true
}

// accepts is Kafka's rule for a change of a thread count from one number to another.
func accepts(from, to int) bool {
	return from == to || to > 0 && to >= from/2 && to <= 2*from
}

// startCount is the count that the broker would start with, as it is written and as a number.
func startCount(name, base string, entries map[string]RunningValue, file *Properties) (written string, n int, ok bool) {
	for _, key := range []string{name, base} {
		if text, set := file.Get(key); set {
			if static, known := entries[key].set(key, SourceStatic); known && placeholder(text) {
				text = static.Value
			}
			n, ok = number(text)
			return text, n, ok && n > 0
		}
	}
	fallback, known := entries[base].set(base, SourceDefault)
	n, ok = number(fallback.Value)
	return fallback.Value, n, known && ok && n > 0
}

func count(s Setting, set bool) (int, bool) {
	n, ok := number(s.Value)
	return n, set && ok
}

func number(s string) (int, bool) {
	n, err := strconv.ParseInt(trimJava(s), 10, 32)
	return int(n), err == nil
}
