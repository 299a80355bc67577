package check

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// Options are what somebody asks for.
type Options struct {
	Owners  portuse.Owners
	Offline bool // leave Kafka, systemd and the ports alone
	// Manifest is checked instead of the one in the settings; nil for that one.
	Manifest *Given
	// Service is true where the settings are those of the package's service.
	Service bool
	Version string // of this program
}

// All goes from what everything else stands on to what stands on it, and past each fault as far as it can. kept is
// where the service has its last good settings, empty for nowhere.
func All(ctx context.Context, path, kept string, o Options) []Finding {
	force, err := settings.LoadInForce(path, kept)
	if err != nil {
		findings := []Finding{judgedFile("settings", err, "")}
		if o.Manifest != nil { // where the agent's own manifest is, the settings say
			_, found := parseManifest(nil, o)
			findings = append(findings, found...)
		}
		return findings
	}
	findings := []Finding{settingsRead(path)}
	if force.Fault() != "" {
		findings = []Finding{ofFile(broken("settings", "%s. What follows is checked with the last good settings",
			force.Note()))}
	}
	s := force.Settings
	if err := s.Kafka.ReadClient(); err != nil {
		s.Kafka.Client = nil
		findings = append(findings, ofFile(judged("login of the settings", err, "")))
	}
	return append(findings, checkVM(ctx, s, o)...)
}

// settingsRead is for a file without a fault. A missing one is an empty one.
func settingsRead(path string) Finding {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return well("settings", "there is no %s, so every field has its default", path)
	}
	return well("settings", "%s", path)
}

// checkVM checks all that the settings name.
func checkVM(ctx context.Context, s *settings.Settings, o Options) []Finding {
	n, errNode := host.ReadNode(s)
	findings := append([]Finding{checkNode(ctx, s, n, errNode, o.Offline)},
		checkMount("server.properties", s.ServerProperties)...)
	findings = append(findings, checkLines(s.ServerProperties)...)
	m, found := parseManifest(s, o)
	findings = append(findings, found...)
	if m != nil {
		findings = append(findings, checkNetwork(m)...)
	}
	var desired config.Desired
	if m != nil && errNode == nil {
		desired, found = checkRender(s, n, m)
		findings = append(findings, found...)
	}
	findings = append(findings, checkPlaces(s)...)
	if o.Offline {
		return findings
	}
	findings = append(findings, checkService(ctx, s, o)...)
	findings = append(findings, checkUnit(ctx, s)...)
	if errNode != nil {
		return findings // which broker this is, and how to reach it, is not known
	}
	return append(findings, checkBroker(ctx, s, n, host.Holding(s, m), desired, o.Owners)...)
}

// checkBroker asks the broker, and for what belongs to it.
func checkBroker(ctx context.Context, s *settings.Settings, n host.Node, st *host.Store, desired config.Desired,
	owners portuse.Owners,
) []Finding {
	client, err := host.Dial(s, n, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return []Finding{judged("login to Kafka", err, "")}
	}
	defer client.Close()
	var findings []Finding
	found, running, process := checkKafka(ctx, s, n, host.NewCluster(s, n, st, client), client)
	findings = append(findings, found...)
	if running.Err == "" {
		findings = append(findings, checkVersions(ctx, client))
	}
	findings = append(findings, checkJava(ctx, s, process)...)
	findings = append(findings, checkListeners(ctx, s, n, desired, process.Listeners)...)
	findings = append(findings, checkPorts(ctx, s, owners, desired, process.Listeners)...)
	f := filesOf(s, n, st)
	f.Learned(process)
	return append(findings, checkRestart(ctx, s, n, f, running)...)
}

// checkRestart says whether the agent would restart this broker, as far as this VM knows: it
// walks the agent's own list. The lines before it say more of each.
func checkRestart(ctx context.Context, s *settings.Settings, n host.Node, f *host.Files,
	running restart.RunningFacts,
) []Finding {
	facts, err := ownFacts(ctx, s, f, running)
	if err != nil {
		return nil // the lines on the unit say so
	}
	unfit := restart.Unfit(n.BrokerID, facts)
	switch {
	case facts.Journal.Stage != restart.StageNone:
		return []Finding{well("a restart of this broker", "it is under way; `kpls-agent status` shows how far it is")}
	case len(unfit) > 0:
		codes := make([]string, len(unfit))
		for i, r := range unfit {
			codes[i] = string(r.Code)
		}
		return []Finding{doubtful("a restart of this broker", "the agent would not do it now (%s): %s",
			strings.Join(codes, ", "), unfit[0].Text())}
	case facts.Running.Err != "":
		return []Finding{doubtful("a restart of this broker", "what the process runs cannot be seen: %s",
			facts.Running.Err)}
	case s.Unit == "":
		return []Finding{doubtful("a restart of this broker",
			"nothing that the agent sees is in the way; what the commands do beyond the broker cannot be seen")}
	}
	return []Finding{well("a restart of this broker",
		"nothing on this VM is in the way; `kpls-agent plan` looks at the cluster")}
}

// Preflight tells the log at the start of the agent what is not well, as far as
// the agent does not say it anyway, and returns. The broker may be about to
// start at the same time: it is waited for.
func Preflight(ctx context.Context, s *settings.Settings, n host.Node, client *kafka.Client, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	tell := func(findings ...Finding) {
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the agent ends: what was asked last got no answer
		}
		for _, f := range findings {
			switch f.Level {
			case OK:
			case Warning:
				log.Warn("check", "what", f.What, "text", f.Text)
			case Fault:
				log.Error("check", "what", f.What, "text", f.Text)
			}
		}
	}
	tell(checkLines(s.ServerProperties)...)
	tell(checkPlaces(s)...)
	tell(checkUnit(ctx, s)...)
	if err := answers(ctx, client); err != nil {
		tell(judged("login to Kafka", err, ""))
		return
	}
	found, _, _ := checkKafka(ctx, s, n, host.NewCluster(s, n, host.Holding(s, nil), client), client)
	tell(found...)
}

// preflightTimeout bounds the checks at the start of the agent, most of it for a
// broker that is about to start as well.
const preflightTimeout = 2 * time.Minute
