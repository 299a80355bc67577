// Package fields changes one field of a value after the other. It shows that a summary of a value, such as its key,
// depends on each of them. It never says what a summary is for.
package fields

import (
	"bytes"
	"reflect"
	"testing"
	"time"
	"unsafe"
)

// Each changes one field after the other of the struct at a pointer, and of the structs that it holds, and reports
// those whose change leaves the key as it is. A field that is left out on purpose stands in except, as Type.field, with
// the cause. A time becomes at; another value becomes its zero value, or one that is not. A slice or a map of structs
// must have an entry, and a pointer must not be nil.
func Each(t *testing.T, value any, at time.Time, except map[string]string, key func() []byte) {
	t.Helper()
	each(t, reflect.ValueOf(value).Elem(), at, except, key)
}

func each(t *testing.T, of reflect.Value, at time.Time, except map[string]string, key func() []byte) {
	t.Helper()
	for i := range of.NumField() {
		field, name := of.Field(i), of.Type().Name()+"."+of.Type().Field(i).Name
		if except[name] != "" {
			continue
		}
		field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
		isTime := field.Type() == reflect.TypeFor[time.Time]()
		switch {
		case isTime:
		case field.Kind() == reflect.Struct:
			each(t, field, at, except, key)
			continue
		case field.Kind() == reflect.Pointer:
			each(t, field.Elem(), at, except, key)
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			each(t, field.Index(0), at, except, key)
		case field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.Struct:
			k := field.MapKeys()[0]
			entry := reflect.New(field.Type().Elem()).Elem()
			entry.Set(field.MapIndex(k))
			each(t, entry, at, except, func() []byte {
				field.SetMapIndex(k, entry)
				return key()
			})
		}
		before, was := key(), reflect.New(field.Type()).Elem()
		was.Set(field)
		if field.IsZero() || isTime || field.Kind() == reflect.Map && field.Len() == 0 {
			field.Set(another(field.Type(), at))
		} else {
			field.SetZero()
		}
		if bytes.Equal(before, key()) {
			t.Errorf("%s does not change the key", name)
		}
		field.Set(was)
	}
}

// another is a value that is not the zero value.
func another(of reflect.Type, at time.Time) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.Append(v, another(of.Elem(), at)))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(another(of.Key(), at), another(of.Elem(), at))
	case reflect.Struct:
		v.Set(reflect.ValueOf(at))
	default:
	}
	return v
}
