package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
)

// checkVersions asks every broker for its version of Kafka. Only `check` does: it takes a connection to each.
func checkVersions(ctx context.Context, client *kafka.Client) Finding {
	versions, unseen, err := client.Versions(ctx)
	if err != nil {
		return doubtful("versions of the brokers", "cannot be seen: %s", config.OneLine(err))
	}
	return judgeVersions(versions, unseen)
}

// judgeVersions names the brokers of each version. Patch releases look alike: a broker tells what it supports,
// and no answer of Kafka's has its version.
func judgeVersions(versions map[int32]string, unseen map[int32]error) Finding {
	const what = "versions of the brokers"
	by := map[string][]int32{}
	for _, id := range slices.Sorted(maps.Keys(versions)) {
		by[versions[id]] = append(by[versions[id]], id)
	}
	newest := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return compareReleases(b, a) })
	var groups, others []string
	for _, v := range newest {
		name := "Kafka " + v
		if known, newer := strings.CutSuffix(v, kafka.Newer); newer {
			name = "a Kafka newer than " + known
		}
		groups = append(groups, fmt.Sprintf("%s %s", runs(by[v]), name))
	}
	for _, id := range slices.Sorted(maps.Keys(unseen)) {
		others = append(others, config.OneLine(unseen[id]))
	}
	text := strings.Join(groups, ", ")
	switch {
	case len(groups) > 1:
		text += ": an upgrade is under way; bring all brokers to one version. What only the newer one knows " +
			"(`kafka-features upgrade`) has to wait until then"
	case len(others) == 0:
		return well(what, "%s", text)
	}
	if len(others) > 0 {
		text = strings.Join(append([]string{text}, others...), "; ")
	}
	return doubtful(what, "%s", strings.TrimPrefix(text, "; "))
}

func runs(ids []int32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("broker %d runs", ids[0])
	}
	return fmt.Sprintf("brokers %s run", joinIDs(ids))
}

// compareReleases orders "3.9" before "3.10", and "4.4" before what is newer than it.
func compareReleases(a, b string) int {
	numbers := func(s string) []int {
		var out []int
		for part := range strings.SplitSeq(strings.TrimSuffix(s, kafka.Newer), ".") {
			n, _ := strconv.Atoi(part)
			out = append(out, n)
		}
		return out
	}
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}
