// Package kafka is the agent's way to Kafka: the coordination log (Log), what
// several brokers say about the cluster (Client.Observe), the configuration of
// the own broker's process (Client.BrokerConfig), the check of one listener
// (Checker) and the customer's view (Verify).
//
// It is the only importer of franz-go. It decides nothing: it answers with
// facts of package restart, or says why it cannot. It never alters a
// configuration, never moves leaders or replicas, never joins a group; it
// writes only to the coordination topic, and to the topic that Verify makes
// and removes.
//
// Every call is bounded by its context, and none waits longer than a few
// seconds for one answer of one broker: brokers are restarted all the time
// around here, and one that hangs must not hang the agent.
package kafka
