package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Protect keeps needrestart from restarting a unit that has no override yet. It is for settings that
// cannot be read: apt runs needrestart at the end of the installation that runs setup. An override that is
// there stays as it is, since it may be of a unit with another name.
func (u *Setup) Protect(unit string) error {
	if _, err := os.Lstat(u.Override); err == nil {
		return nil
	}
	return u.override([]string{unit})
}

// override writes the file by which needrestart leaves the broker's unit alone, or removes it where there
// is no unit. needrestart in automatic mode would restart all brokers at once, with no regard to the cluster.
func (u *Setup) override(names []string) error {
	if len(names) > 0 {
		_, err := u.write(u.Override, overrides(names))
		return err
	}
	changed, err := u.remove(u.Override)
	if changed && err == nil && !u.Dry {
		// needrestart's package has files in both folders: they go only where it is not installed.
		if os.Remove(filepath.Dir(u.Override)) == nil {
			_ = os.Remove(filepath.Dir(filepath.Dir(u.Override)))
		}
	}
	return err
}

// overrides is Perl, which needrestart evaluates. A unit is deferred where the value is 0
// (needrestart.conf, $nrconf{override_rc}); its name is the one of its control group.
func overrides(names []string) string {
	var b strings.Builder
	b.WriteString("# Written by `kpls-agent setup`. Change the settings and run it again instead of\n" +
		"# changing this file. needrestart restarts no broker: `kpls-agent restart` does it, one\n" +
		"# after the other, when that is safe for the cluster.\n")
	for _, name := range names {
		fmt.Fprintf(&b, "$nrconf{override_rc}{qr(^%s$)} = 0;\n", perl(name))
	}
	return b.String()
}

// special is every character that might mean something in a regular expression of Perl.
var special = regexp.MustCompile(`[^A-Za-z0-9_]`)

func perl(s string) string { return special.ReplaceAllString(s, `\$0`) }
