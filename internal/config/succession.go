package config

import (
	"errors"
	"fmt"
	"slices"
)

// CheckSuccession says why next must not follow previous, the manifest in
// force; nil allows it. Each error says what to do.
func CheckSuccession(previous, next *Manifest) error {
	if previous == nil {
		return nil
	}
	if previous.Cluster != next.Cluster {
		return fmt.Errorf("the manifest is for cluster %q, and this agent serves cluster %q; put the right file here",
			next.Cluster, previous.Cluster)
	}
	var errs []error
	for _, l := range previous.Listeners {
		kept := slices.ContainsFunc(next.Listeners, func(n Listener) bool { return n.Name == l.Name })
		if !kept && !slices.Contains(next.Absent, l.Name) {
			errs = append(
				errs,
				fmt.Errorf(
					"listener %s has vanished from the manifest, and its clients would be cut off; restore it, or list it under `absent` to remove it",
					l.Name),
			)
		}
	}
	return errors.Join(errs...)
}
