package unit

import "testing"

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]int{"252 (252.39-1~deb12u2)": 252, "257.8-1~deb13u2": 257, "v256": 256, "255": 255, "": 0, "rolling": 0} {
		if got, err := parseVersion(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
