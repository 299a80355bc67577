package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkSecurity is R25 as far as the file tells: a managed listener that cannot
// be opened for want of a certificate. What only Kafka's own user, its command
// line or the key store itself could tell becomes a warning.
func (c *brokerConfig) checkSecurity(d Desired, exists func(string) bool) (warnings []string, err error) {
	for _, e := range d.Endpoints {
		if usesTLS(e.SecurityProtocol) {
			w, err := c.checkTLS(e.Name, exists)
			if err != nil {
				return nil, err
			}
			warnings = append(warnings, w...)
		}
		if usesSASL(e.SecurityProtocol) {
			w, err := c.checkSASL(e.Name)
			if err != nil {
				return nil, err
			}
			warnings = append(warnings, w...)
		}
		for _, key := range slices.Sorted(maps.Keys(e.Properties)) {
			if !known(key) {
				warnings = append(
					warnings,
					fmt.Sprintf(
						"listener %s: Kafka has no property %s that a listener can have of its own; it is written and has no effect",
						e.Name, key),
				)
			}
		}
	}
	return warnings, nil
}

// kafkaMechanisms are the SASL mechanisms that Kafka's brokers have. Kafka compares
// their names to the letter.
var kafkaMechanisms = []string{"GSSAPI", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}

// checkSASL looks for the mechanisms and their JAAS entries, which a file named on
// Kafka's command line can hold too.
func (c *brokerConfig) checkSASL(name string) (warnings []string, err error) {
	mechanisms := splitNonEmpty(c.scoped(name, keyMechanisms, "GSSAPI"))
	if len(mechanisms) == 0 {
		r := &Refusal{
			Rule: "R25",
			Path: c.path,
			Text: fmt.Sprintf("listener %s uses SASL and has no mechanism", name),
			Next: "add " + keyMechanisms + " to its properties in the manifest",
		}
		return nil, r.by(name, "security_protocol")
	}
	for _, m := range mechanisms {
		if !slices.Contains(kafkaMechanisms, m) {
			warnings = append(
				warnings,
				fmt.Sprintf(
					"listener %s: Kafka has no SASL mechanism %q of its own, only %s; if no class of yours brings it, the broker starts and nobody can log in",
					name, m, strings.Join(kafkaMechanisms, ", ")),
			)
		}
		key := strings.ToLower(m) + ".sasl.jaas.config"
		if !c.has(listenerPrefix(name) + key) {
			warnings = append(
				warnings,
				fmt.Sprintf(
					"listener %s: no %s%s in the file; Kafka needs a section %s.KafkaServer or KafkaServer in its JAAS file then",
					name, listenerPrefix(name), key, strings.ToLower(name)),
			)
		}
	}
	return warnings, nil
}
