package check

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// cloudOf finds the cloud in a name of TiDB Cloud, such as b1.abc.eastus.azure.3199745.tidbcloud.com.
var cloudOf = regexp.MustCompile(`(?i)\.(azure|aws|gcp)\.[0-9]+\.tidbcloud\.com(:|$)`)

// checkNetwork says what the cloud of the advertised names would refuse of the manifest's ports, or would not do. It is
// silent where the names show no cloud, or where there is no table of brokers. It never is a fault: the brokers
// themselves take what a cloud does not.
func checkNetwork(m *config.Manifest) []Finding {
	const what = "network"
	if len(m.Brokers) == 0 {
		return nil
	}
	var findings []Finding
	by := clouds(m)
	for _, cloud := range slices.Sorted(maps.Keys(by)) {
		// The name is that of resources, which an operator may choose. It plays no part in what is checked here.
		n, err := render.Resolve(m, render.Options{Listeners: by[cloud], Name: "kpls"})
		var warnings []string
		if err == nil {
			warnings, err = refusals(n, cloud)
		}
		findings = append(findings, networkFindings(what, cloud, err, about(m, warnings))...)
	}
	return findings
}

// networkFindings are the lines on one cloud.
func networkFindings(what, cloud string, err error, warnings []string) []Finding {
	var findings []Finding
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults {
			findings = append(findings, doubtful(what, "%s, by the advertised names, would refuse: %s", cloud,
				config.OneLine(config.Faults{f})))
		}
	case err != nil:
		findings = append(findings, doubtful(what, "%s", config.OneLine(err)))
	}
	for _, w := range warnings {
		findings = append(findings, doubtful(what, "%s", w))
	}
	if len(findings) == 0 {
		findings = append(findings, well(what, "%s, by the advertised names, takes the ports of the manifest", cloud))
	}
	return findings
}

// clouds are the listeners by the cloud of their names, as `kpls-agent render` calls it. A bootstrap listener goes with
// the one that it is for.
func clouds(m *config.Manifest) map[string][]string {
	of, by := map[string]string{}, map[string][]string{}
	for _, l := range m.Listeners {
		for _, pattern := range append([]string{l.Advertised}, slices.Sorted(maps.Values(l.AdvertisedByZone))...) {
			if found := cloudOf.FindStringSubmatch(pattern); found != nil {
				of[l.Name] = strings.ToLower(found[1])
			}
		}
	}
	for _, l := range m.Listeners {
		cloud := of[l.Name]
		if l.Bootstrap.Of != "" {
			cloud = of[l.Bootstrap.Of]
		}
		if cloud != "" {
			by[cloud] = append(by[cloud], l.Name)
		}
	}
	return by
}

// refusals are those of the cloud's last format: it asks for nothing beyond what the cloud itself does.
func refusals(n *render.Network, cloud string) ([]string, error) {
	targets := render.Targets()
	i := slices.IndexFunc(targets, func(t render.Target) bool { return t.Name == cloud })
	if i < 0 {
		return nil, fmt.Errorf("%s is no target of kpls-agent render", cloud)
	}
	formats := targets[i].Formats
	out, err := formats[len(formats)-1].Make(n)
	if err != nil {
		return nil, err
	}
	return out.Warnings, nil
}

// about are the warnings that speak of a listener: the others are about files, or true of every manifest.
func about(m *config.Manifest, warnings []string) []string {
	return slices.DeleteFunc(warnings, func(w string) bool {
		return !slices.ContainsFunc(m.Listeners, func(l config.Listener) bool {
			return slices.Contains(strings.FieldsFunc(w, notOfName), l.Name)
		})
	})
}

// notOfName is true for what no listener's name has.
func notOfName(r rune) bool {
	return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z')
}
