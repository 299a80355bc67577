package check

import (
	"fmt"
	"strconv"

	"example.com/kpls-agent/internal/config"
)

// checkMinISR warns of a min.insync.replicas of server.properties that a lower one of kafka-configs overrides: acks=all
// then promises less than the file says. Nobody need have set that one. From metadata version 4.1 on the controller
// writes it when the cluster is formatted or `kafka-features upgrade` enables eligible leader replicas (KIP-966), with the
// value of its own file, or Kafka's 1.
func checkMinISR(entries map[string]config.RunningValue, broker int32) []Finding {
	const name = "min.insync.replicas"
	first := config.Setting{}
	file, inFile := 0, false
	for i, s := range entries[name].Settings {
		if i == 0 {
			first = s
		}
		if s.Name == name && s.Source == config.SourceStatic {
			n, err := strconv.Atoi(s.Value)
			file, inFile = n, err == nil
		}
	}
	inForce, err := strconv.Atoi(entries[name].Value)
	level := ""
	switch first.Source {
	case config.SourceDynamicBroker:
		level = "broker"
	case config.SourceDynamicDefault:
		level = "default"
	case config.SourceOther, config.SourceStatic, config.SourceDefault:
	}
	if !inFile || err != nil || level == "" || inForce >= file {
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
