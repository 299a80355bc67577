package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is an Apache Kafka version. The zero value is an unknown version:
// then what any supported version refuses is refused, where the file itself does
// not tell the version apart.
type Version struct {
	Major, Minor int
	// Patch is -1 where only major and minor are known.
	Patch int
}

// oldestVersion is the first release whose KRaft mode was for production (KIP-833).
var oldestVersion = Version{3, 3, 0}

// ParseVersion reads "3.7.1" or "3.7"; what follows a hyphen or a plus sign
// ("3.7.1-ccs") is ignored. Versions before 3.3 are an error. The empty string is
// the unknown version.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return Version{}, nil
	}
	bare, _, _ := strings.Cut(s, "-")
	bare, _, _ = strings.Cut(bare, "+")
	parts := strings.Split(bare, ".")
	numbers := []int{0, 0, -1}
	if len(parts) < 2 {
		return Version{}, fmt.Errorf("kafka version %q: expected MAJOR.MINOR or MAJOR.MINOR.PATCH, such as 3.7.1", s)
	}
	for i, part := range parts[:min(len(parts), 3)] {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return Version{}, fmt.Errorf("kafka version %q: expected MAJOR.MINOR or MAJOR.MINOR.PATCH, such as 3.7.1",
				s)
		}
		numbers[i] = int(n)
	}
	v := Version{numbers[0], numbers[1], numbers[2]}
	if v.compare(oldestVersion.Major, oldestVersion.Minor) < 0 {
		return Version{}, fmt.Errorf("kafka version %q: the oldest supported version is 3.3", s)
	}
	return v, nil
}

// IsZero is true for the unknown version.
func (v Version) IsZero() bool { return v == Version{} }

// String returns the version as ParseVersion reads it, or "an unknown version".
func (v Version) String() string {
	switch {
	case v.IsZero():
		return "an unknown version"
	case v.Patch < 0:
		return fmt.Sprintf("%d.%d", v.Major, v.Minor)
	default:
		return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	}
}

func (v Version) compare(major, minor int) int {
	return cmp.Or(cmp.Compare(v.Major, major), cmp.Compare(v.Minor, minor))
}

// maybeBefore is true if the version is or may be before major.minor.
func (v Version) maybeBefore(major, minor int) bool {
	return v.IsZero() || v.compare(major, minor) < 0
}

// maybeSince is true if the version is or may be major.minor or later.
func (v Version) maybeSince(major, minor int) bool {
	return v.IsZero() || v.compare(major, minor) >= 0
}

// surelySince is true if the version is known to be major.minor or later.
func (v Version) surelySince(major, minor int) bool {
	return !v.IsZero() && v.compare(major, minor) >= 0
}
