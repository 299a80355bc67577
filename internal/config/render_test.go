package config

import (
	"errors"
	"testing"
)

func TestHardCases(t *testing.T) {
	for _, h := range hardCases {
		t.Run(h.name, func(t *testing.T) {
			v := Version{Major: 3, Minor: 7, Patch: 1}
			_, err := Render(RenderInput{Path: "server.properties", File: []byte(h.file), BrokerID: 1, Desired: h.desired, Version: v})
			rule := ""
			if r, ok := errors.AsType[*Refusal](err); ok {
				rule = r.Rule
			}
			if rule != h.rule {
				t.Errorf("refused by rule %q, want %q: %v", rule, h.rule, err)
			}
			checkRender(t, []byte(h.file), h.desired, v)
		})
	}
}
