package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/render"
	"example.com/kpls-agent/internal/settings"
)

type renderOptions struct {
	manifest, format, out, name string
	listeners, hosts, endpoints []string
	check                       bool
}

func newRender(s *shared) *cobra.Command {
	var o renderOptions
	c := &cobra.Command{
		Use:   "render TARGET",
		Short: "Write the network's side of the manifest: load balancer, private link service, names",
		Long: "Makes, from the manifest alone, what the other half of a private link needs. It asks no cloud and no\n" +
			"Kafka, and needs neither settings nor root. What would not lead to the right broker is refused, all at\n" +
			"once, with the line of the manifest. The targets, with their formats; the first one is the default:\n\n" +
			targetsHelp() + "\n\n" +
			"A file that this command did not write is never replaced. Exits with 2 on anything that is refused, and\n" +
			"with 3 if --check finds a difference.",
		Args:      oneTarget,
		ValidArgs: targetNames(),
		RunE:      func(_ *cobra.Command, args []string) error { return o.run(s, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.manifest, "manifest", "", "manifest `file`, or - for standard input; default: the one in the settings")
	f.StringArrayVar(&o.listeners, "listener", nil, "managed listener to render; repeat it; default: all")
	f.StringVar(&o.format, "format", "", "format of the target; default: its first one")
	f.StringVar(&o.out, "out", "-", "`folder` for the files, or - to print a format of one file")
	f.BoolVar(&o.check, "check", false, "write nothing; show how the files in the folder differ from what would be written")
	f.StringVar(&o.name, "name", "", "what the names of the cloud's resources begin with; default: the cluster's name")
	f.StringArrayVar(&o.hosts, "host", nil, "`ID=ADDRESS`: where the VM of broker ID is reached, if the manifest's table "+
		"has no host; repeat it")
	f.StringArrayVar(&o.endpoints, "endpoint", nil, "`[ZONE=]ADDRESS` of the customer's endpoint, for dns; repeat it")
	return c
}

// targetsHelp lists the targets for the command's help.
func targetsHelp() string {
	var b strings.Builder
	for _, t := range render.Targets() {
		for i, f := range t.Formats {
			name := t.Name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  %-8s %-14s %s\n", name, f.Name, f.About)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func targetNames() []string {
	var out []string
	for _, t := range render.Targets() {
		out = append(out, t.Name)
	}
	return out
}

func oneTarget(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("`%s` takes one target: %s", c.CommandPath(), strings.Join(targetNames(), ", "))
	}
	if slices.Contains(targetNames(), args[0]) {
		return nil
	}
	return fmt.Errorf("there is no target %q; expected %s", args[0], strings.Join(targetNames(), ", "))
}

func (o renderOptions) run(s *shared, target string) error {
	format, err := o.pick(target)
	if err != nil {
		return invalid(err)
	}
	out, err := o.make(s, format)
	if err != nil {
		return invalid(err)
	}
	for _, w := range out.Warnings {
		fmt.Fprintln(s.stderr, "warning:", w)
	}
	if o.out != "-" {
		return o.folder(s, out)
	}
	switch {
	case o.check:
		return invalid(errors.New("--check compares with files; name their folder with --out"))
	case len(out.Files) > 1:
		return invalid(fmt.Errorf("%s has several files (%s); name a folder for them with --out", format.Name,
			strings.Join(fileNames(out), ", ")))
	}
	_, err = s.stdout.Write(out.Files[0].Text)
	return err
}

// pick finds the format.
func (o renderOptions) pick(target string) (render.Format, error) {
	for _, t := range render.Targets() {
		if t.Name != target {
			continue
		}
		var names []string
		for _, f := range t.Formats {
			if o.format == "" || o.format == f.Name {
				return f, nil
			}
			names = append(names, f.Name)
		}
		return render.Format{}, fmt.Errorf("--format %s: %s has no such format; expected %s", o.format, target,
			strings.Join(names, " or "))
	}
	return render.Format{}, fmt.Errorf("there is no target %q", target) // oneTarget has seen to that
}

// make reads the manifest and makes the files.
func (o renderOptions) make(s *shared, format render.Format) (*render.Output, error) {
	hosts, err := o.addresses()
	if err != nil {
		return nil, err
	}
	endpoints, err := o.zones()
	if err != nil {
		return nil, err
	}
	m, err := o.read(s)
	if err != nil {
		return nil, err
	}
	n, err := render.Resolve(m, render.Options{
		Listeners: o.listeners, Hosts: hosts, Name: o.name, Endpoints: endpoints,
	})
	if err != nil {
		return nil, err
	}
	return format.Make(n)
}

func (o renderOptions) read(s *shared) (*config.Manifest, error) {
	if o.manifest == "-" {
		data, err := io.ReadAll(s.stdin)
		if err != nil {
			return nil, fmt.Errorf("read the manifest from standard input: %w", err)
		}
		return config.ParseManifest("standard input", data)
	}
	path := o.manifest
	if path == "" {
		vm, err := s.settings()
		if err != nil {
			return nil, err
		}
		path = vm.Manifest
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, settings.Denied(fmt.Errorf("read the manifest: %w", err))
	case err != nil:
		return nil, fmt.Errorf("read the manifest: %w; name the file with --manifest", err)
	}
	return config.ParseManifest(path, data)
}

// addresses reads --host. Whether the manifest has these brokers is for render.Resolve.
func (o renderOptions) addresses() (map[int32]string, error) {
	hosts := map[int32]string{}
	var faults []error
	for _, entry := range o.hosts {
		id, address, whole := strings.Cut(entry, "=")
		n, err := strconv.ParseInt(id, 10, 32)
		switch why := config.CheckHost(address); {
		case !whole || err != nil || n < 0:
			faults = append(faults, fmt.Errorf("--host %s: expected ID=ADDRESS with a broker's node.id, such as "+
				"1=10.0.0.4", entry))
		case why != "":
			faults = append(faults, fmt.Errorf("--host %s: %s", entry, why))
		case hosts[int32(n)] != "":
			faults = append(faults, fmt.Errorf("--host %s: broker %d has an address already; leave one of them out", entry, n))
		default:
			hosts[int32(n)] = address
		}
	}
	return hosts, errors.Join(faults...)
}

// zones reads --endpoint. What an address may be is for render.
func (o renderOptions) zones() (map[string]string, error) {
	out := map[string]string{}
	for _, entry := range o.endpoints {
		zone, address, given := strings.Cut(entry, "=")
		if !given {
			zone, address = "", entry
		}
		if _, twice := out[zone]; twice {
			return nil, fmt.Errorf("--endpoint %s: this zone has an endpoint already; leave one of them out", entry)
		}
		out[zone] = address
	}
	return out, nil
}

// folder writes or compares files. It reads all of them before it writes the first, so what is refused changes nothing.
func (o renderOptions) folder(s *shared, out *render.Output) error {
	old := map[string]*string{} // nil where there is no file
	var faults []error
	for _, f := range out.Files {
		path := filepath.Join(o.out, f.Name)
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			faults = append(faults, fmt.Errorf("read --out: %w", err))
		case !f.Example && !render.Ours(data):
			faults = append(faults, fmt.Errorf("%s was not written by this command, and is left as it is; move it away, or "+
				"name another folder with --out", path))
		}
		text := string(data)
		old[f.Name] = &text
	}
	if err := errors.Join(faults...); err != nil {
		return invalid(err)
	}
	if o.check {
		return o.compare(s, out, old)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // nothing secret is in the files
		return fmt.Errorf("make the folder of --out: %w", err)
	}
	for _, f := range out.Files {
		path, was := filepath.Join(o.out, f.Name), old[f.Name]
		what := "written"
		switch {
		case was != nil && f.Example:
			what = "kept: an example is yours"
		case was != nil && *was == string(f.Text):
			what = "unchanged"
		default:
			if err := durable.WriteFile(path, f.Text, durable.Options{Mode: f.Mode}); err != nil {
				return fmt.Errorf("write --out: %w", err)
			}
		}
		if _, err := fmt.Fprintf(s.stdout, "%s  %s\n", path, what); err != nil {
			return err
		}
	}
	return nil
}

// compare shows what would be written.
func (o renderOptions) compare(s *shared, out *render.Output, old map[string]*string) error {
	differs := false
	for _, f := range out.Files {
		path, was := filepath.Join(o.out, f.Name), old[f.Name]
		diff := ""
		switch {
		case f.Example: // it is the user's, who might have moved it
		case was == nil:
			diff = render.Diff("/dev/null", path, "", string(f.Text))
		default:
			diff = render.Diff(path, path, *was, string(f.Text))
		}
		differs = differs || diff != ""
		if _, err := io.WriteString(s.stdout, diff); err != nil {
			return err
		}
	}
	if differs {
		return &exitError{code: exitDiffers}
	}
	return nil
}

func fileNames(out *render.Output) []string {
	var names []string
	for _, f := range out.Files {
		names = append(names, f.Name)
	}
	return names
}
