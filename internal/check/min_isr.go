package check

import (
	"fmt"
	"slices"
	"strconv"

	"example.com/kpls-agent/internal/config"
)

// checkMinISR warns of a min.insync.replicas of server.properties that a lower one of kafka-configs overrides: acks=all
// then promises less than the file says. Nobody need have set that one. From metadata version 4.1 on the controller
// writes it when the cluster is formatted or `kafka-features upgrade` enables eligible leader replicas (KIP-966), with the
// value of its own file, or Kafka's 1.
func checkMinISR(entries map[string]config.RunningValue, broker int32) []Finding {
	const name = "min.insync.replicas"
	settings := entries[name].Settings // the one that wins is the first
	i := slices.IndexFunc(settings, func(s config.Setting) bool {
		return s.Source == config.SourceStatic && s.Name == name
	})
	if i < 1 {
		return nil
	}
	level := "default"
	if settings[0].Source == config.SourceDynamicBroker {
		level = "broker"
	}
	file, err1 := strconv.Atoi(settings[i].Value)
	inForce, err2 := strconv.Atoi(entries[name].Value)
	if err1 != nil || err2 != nil || inForce >= file {
		return nil
	}
	return []Finding{doubtful(name, "server.properties has %d, and %s=%d of kafka-configs %s counts, so acks=all may mean %s; "+
		"where nobody has set it, the controller has (KIP-966). If %d is meant: kafka-configs --bootstrap-server ... --alter "+
		"--entity-type brokers %s --add-config %s=%d", file, name, inForce, entityOf(level, broker),
		replicas(inForce), file, entityOf(level, broker), name, file)}
}

func replicas(n int) string {
	if n == 1 {
		return "one replica"
	}
	return fmt.Sprintf("%d replicas", n)
}
