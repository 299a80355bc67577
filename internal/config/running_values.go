package config

import (
	"math"
	"strconv"
	"strings"
)

// Source says where Kafka has a value from (ConfigSource in DescribeConfigsResponse.java).
type Source int

// The sources of a broker's property, the one that wins first. SourceOther is any that
// brokers' properties do not have.
const (
	SourceOther          Source = iota
	SourceDynamicBroker         // kafka-configs --entity-name
	SourceDynamicDefault        // kafka-configs --entity-default
	SourceStatic                // server.properties, or --override of the command line
	SourceDefault               // Kafka's own
)

// level names a dynamic source as the records and messages do.
func (s Source) level() string {
	if s == SourceDynamicBroker {
		return "broker"
	}
	return "default"
}

// Setting is one value that somebody set for a property, in force or not.
type Setting struct {
	// Name is the property's own name, or one that Kafka falls back on (log.retention.ms:
	// log.retention.minutes).
	Name   string
	Source Source
	// Value is as it was written. Secret is true where Kafka does not tell it.
	Value  string
	Secret bool
}

// set returns what a source sets for the name itself.
func (v RunningValue) set(name string, from Source) (Setting, bool) {
	for _, s := range v.Settings {
		if s.Name == name && s.Source == from {
			return s, true
		}
	}
	return Setting{}, false
}

// sameValue is true if Kafka makes the same of two values of a type (ConfigDef.parseType):
// it takes 08 for 8, TRUE for true and "a, b" for "a,b".
func sameValue(kind, a, b string) bool {
	a, b = trimJava(a), trimJava(b)
	if a == b {
		return true
	}
	switch kind {
	case typeInt, typeLong, typeShort:
		x, err1 := strconv.ParseInt(a, 10, 64)
		y, err2 := strconv.ParseInt(b, 10, 64)
		return err1 == nil && err2 == nil && x == y
	case typeDouble:
		x, err1 := strconv.ParseFloat(a, 64)
		y, err2 := strconv.ParseFloat(b, 64)
		return err1 == nil && err2 == nil && (x == y || math.IsNaN(x) && math.IsNaN(y))
	case typeBoolean:
		return strings.EqualFold(a, b)
	case typeList:
		return joinedList(a) == joinedList(b)
	}
	return false
}

func joinedList(s string) string {
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = trimJava(items[i])
	}
	return strings.Join(items, ",")
}

// placeholder is true for a value that a config provider replaces: what the process has
// for it is not what is written.
func placeholder(s string) bool { return strings.Contains(s, "${") }

// Kafka's types of properties (ConfigDef.Type), as DescribeConfigs and RunningValue.Type name them.
const (
	typeBoolean  = "BOOLEAN"
	typeString   = "STRING"
	typeInt      = "INT"
	typeShort    = "SHORT"
	typeLong     = "LONG"
	typeDouble   = "DOUBLE"
	typeList     = "LIST"
	typeClass    = "CLASS"
	typePassword = "PASSWORD"
)
