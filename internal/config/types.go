package config

import (
	"embed"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// types has, for some versions of Kafka, every property with its type and the rule for its
// values: `go test ./internal/config -run TestAgainstJava -update` asks Kafka's own
// configuration class for them.
//
//go:embed types/*.tsv
var types embed.FS

// property is what Kafka takes for one property.
type property struct {
	kind string // a type, such as typeInt
	rule string // the name of Kafka's class of the rule and how it writes itself, or empty
}

// typesByVersion are the tables, by major and minor. That all can be read is tested.
var typesByVersion = sync.OnceValue(func() map[Version]map[string]property {
	out := map[Version]map[string]property{}
	files, _ := types.ReadDir("types")
	for _, f := range files {
		v, err1 := ParseVersion(strings.TrimSuffix(f.Name(), ".tsv"))
		text, err2 := types.ReadFile("types/" + f.Name())
		if err1 != nil || err2 != nil {
			continue
		}
		table := map[string]property{}
		for line := range strings.Lines(string(text)) {
			if words := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(words) == 3 {
				table[words[0]] = property{words[1], words[2]}
			}
		}
		out[Version{v.Major, v.Minor, -1}] = table
	}
	return out
})

// kinds are what the tables say of a property: that of the version alone where there is one, otherwise those of the
// next versions below and above it, and of an unknown version all.
func kinds(name string, v Version) []property {
	tables := typesByVersion()
	minor := Version{v.Major, v.Minor, -1}
	if _, ok := tables[minor]; ok {
		return kindsOf(name, minor)
	}
	versions := slices.SortedFunc(maps.Keys(tables), func(a, b Version) int { return a.compare(b.Major, b.Minor) })
	if !v.IsZero() {
		above := slices.IndexFunc(versions, func(t Version) bool { return t.compare(v.Major, v.Minor) > 0 })
		switch {
		case above < 0: // newer than all: the newest rules
			versions = versions[len(versions)-1:]
		case above == 0:
			versions = versions[:1]
		default:
			versions = versions[above-1 : above+1]
		}
	}
	return kindsOf(name, versions...)
}

func kindsOf(name string, versions ...Version) []property {
	var out []property
	for _, v := range versions {
		if p, ok := typesByVersion()[v][name]; ok {
			out = append(out, p)
		}
	}
	return out
}

// secretProperty is true for one whose value may be a secret: a password, and what Kafka does not know.
func secretProperty(name string, v Version) bool {
	list := kinds(name, v)
	return len(list) == 0 || slices.ContainsFunc(list, func(p property) bool { return p.kind == typePassword })
}

// RefusedValue says why Kafka would not start with a value of a property. It is empty where
// it would, as far as the value alone tells, and where that is not certain: a property that no
// table has, a value that a config provider gives, versions that disagree.
func RefusedValue(name, value string, v Version) string {
	if placeholder(value) {
		return ""
	}
	why := ""
	for _, p := range kinds(name, v) {
		if why = p.refuses(trimJava(value)); why == "" {
			return ""
		}
	}
	return why
}

// refuses is ConfigDef.parseType and the rule's own ensureValid, for the rules that are known here.
func (p property) refuses(value string) string {
	switch p.kind {
	case typeInt, typeLong, typeShort:
		return p.refusesInteger(value)
	case typeDouble:
		n, err := strconv.ParseFloat(strings.TrimRight(value, "dDfF"), 64)
		if errors.Is(err, strconv.ErrSyntax) && (value == "" || strings.ContainsAny(value, "# ,;")) {
			return "it is not a number of type DOUBLE" // Java has more ways to write one than Go
		}
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return ""
		}
		return p.outside(n)
	case typeBoolean:
		if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
			return "it is neither true nor false"
		}
	case typeString:
		return p.refusesString(value)
	case typeList:
		return p.refusesList(value)
	}
	return ""
}

func (p property) refusesInteger(value string) string {
	if strings.ContainsFunc(value, func(r rune) bool { return r > '~' }) {
		return "" // Java takes the digits of other scripts, too
	}
	bits := map[string]int{typeInt: 32, typeLong: 64, typeShort: 16}[p.kind]
	n, err := strconv.ParseInt(value, 10, bits)
	if err != nil {
		return "it is not a number of type " + p.kind
	}
	return p.outside(float64(n))
}

// outside is Range.ensureValid: "[1,...]", "[0,...,1]" or "[...,5]".
func (p property) outside(n float64) string {
	text, ok := strings.CutPrefix(p.rule, "Range [")
	if !ok {
		return ""
	}
	low, high, _ := strings.Cut(strings.TrimSuffix(text, "]"), "...")
	if limit, err := strconv.ParseFloat(strings.TrimSuffix(low, ","), 64); err == nil && n < limit {
		return "it is less than " + strings.TrimSuffix(low, ",")
	}
	if limit, err := strconv.ParseFloat(strings.TrimPrefix(high, ","), 64); err == nil && n > limit {
		return "it is more than " + strings.TrimPrefix(high, ",")
	}
	return ""
}

func (p property) refusesString(value string) string {
	if strings.HasPrefix(p.rule, "NonEmptyString ") && value == "" {
		return "it is empty"
	}
	if words, ok := p.words("ValidString ["); ok && !slices.Contains(words, value) {
		return "it is none of " + strings.Join(words, ", ")
	}
	if words, ok := p.words("CaseInsensitiveValidString (case insensitive) ["); ok &&
		!slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, value) }) {
		return "it is none of " + strings.Join(words, ", ")
	}
	return ""
}

const emptyItem = "it has an empty item"

// refusesList is ValidList.ensureValid. Since 4.2 (KIP-1161) most lists have that rule, with any words.
func (p property) refusesList(value string) string {
	if value == "" || !strings.HasPrefix(p.rule, "ValidList") {
		return ""
	}
	words, some := p.words("ValidList [")
	for _, item := range splitList(value) {
		switch {
		case item == "":
			return emptyItem
		case some && !slices.Contains(words, item):
			return strconv.Quote(item) + " is none of " + strings.Join(words, ", ")
		}
	}
	return ""
}

// words are those of a rule that lists what it takes.
func (p property) words(rule string) ([]string, bool) {
	text, ok := strings.CutPrefix(p.rule, rule)
	if !ok {
		return nil, false
	}
	return strings.Split(strings.TrimSuffix(text, "]"), ", "), true
}
