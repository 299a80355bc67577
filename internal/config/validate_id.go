package config

import (
	"fmt"
	"strconv"
	"strings"
)

// defaultReservedID is the default of reserved.broker.max.id (ServerConfigs).
const defaultReservedID = 1000

// setID completes the advice to write the broker's id into the file: R27 must not
// refuse the file that somebody makes by it.
func (p *propFile) setID(set string) string {
	dir, _, _ := strings.Cut(p.textOr("log.dirs", p.textOr("log.dir", "/tmp/kafka-logs")), ",")
	next := fmt.Sprintf("%s to the id of this broker, which %s/meta.properties has", set, trimJava(dir))
	if len(splitList(p.text(keyRoles))) > 0 {
		return next
	}
	reserved := p.textOr(keyReservedID, strconv.Itoa(defaultReservedID))
	return next + fmt.Sprintf("; where it is above %s, set %s to it as well", reserved, keyReservedID)
}

// checkReservedID is R27. In ZooKeeper mode Kafka gives ids above
// reserved.broker.max.id to brokers that name none, and refuses a configured id
// above it unless it generates none (KafkaConfig.validateValues, before 4.0).
func (c *brokerConfig) checkReservedID() error {
	if c.version.surelySince(4, 0) {
		return nil
	}
	for _, key := range []string{keyReservedID, keyGenerateID} {
		if strings.Contains(c.text(key), "${") {
			return c.fault("PLACEHOLDER", key, key+" holds a placeholder, which only Kafka can resolve",
				"write the value itself")
		}
	}
	reserved, err := strconv.ParseInt(c.textOr(keyReservedID, strconv.Itoa(defaultReservedID)), 10, 32)
	if err != nil || reserved < 0 {
		return c.fault("R27", keyReservedID, keyReservedID+" is not a number from 0 up", "correct it")
	}
	generate := strings.ToLower(c.textOr(keyGenerateID, "true"))
	if generate != "true" && generate != "false" {
		return c.fault("R27", keyGenerateID, keyGenerateID+" is neither true nor false", "correct it")
	}
	id := c.id()
	if c.kraft() || generate == "false" || int64(id) <= reserved {
		return nil
	}
	key := keyNodeID
	if !c.has(key) {
		key = keyBrokerID
	}
	return c.fault("R27", key,
		fmt.Sprintf("%s is %d and %s %d: Kafka keeps the ids above that for brokers that name none, and does not start",
			key, id, keyReservedID, reserved),
		fmt.Sprintf("set %s=%d or more as well", keyReservedID, id))
}
