// Package config turns a manifest and a broker's server.properties into the
// server.properties that the manifest asks for.
//
// It owns the manifest (parse, validate, watch) and the reading, checking and
// rewriting of server.properties: what a line means is decided by the rules of
// java.util.Properties, what Kafka makes of it by the rules of Kafka's own
// configuration class for the version at hand, and whatever Kafka would refuse
// at start-up is refused here, before any restart. A file is edited, never
// regenerated: only the lines of the three listener properties and of the
// managed listeners' own properties may change, every other byte stays.
//
// It never restarts anything, never talks to Kafka, and never writes a file:
// the caller replaces server.properties by means of package durable. Nothing
// that it returns for people to read holds a secret.
package config
