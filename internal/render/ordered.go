package render

import (
	"bytes"
	"encoding/json"
)

// ordered is a JSON object with its keys in this order: brokers stand by their ids, and a diff shows one line for one
// broker. Package encoding/json sorts the keys of a map as text.
type ordered[T any] []entry[T]

type entry[T any] struct {
	key   string
	value T
}

// MarshalJSON implements json.Marshaler.
func (o ordered[T]) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, e := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(e.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
