package judge

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// Verdict is what an installed Kafka says of a server.properties.
type Verdict struct {
	Kafka string `json:"kafka"` // its version
	Java  string `json:"java"`
	// Refused is what Kafka would not start with. Empty is no proof where Unjudged is not empty.
	Refused []Remark `json:"refused,omitempty"`
	// Unjudged is what could not be judged, and why.
	Unjudged []Remark `json:"unjudged,omitempty"`
}

// Remark is one thing that Kafka says.
type Remark struct {
	// Listener is empty where it is about none.
	Listener string `json:"listener,omitempty"`
	// Line is that of server.properties, 0 if no single line is at fault.
	Line int `json:"line,omitempty"`
	// Text is in Kafka's own words, with secrets masked.
	Text string `json:"text"`
}

// String is the remark for people.
func (r Remark) String() string {
	if r.Listener != "" {
		return "listener " + r.Listener + ": " + r.Text
	}
	return r.Text
}

// answer is what the class prints.
type answer struct {
	Format   int    `json:"kpls_judge"`
	Kafka    string `json:"kafka"`
	Java     string `json:"java"`
	Refused  []said `json:"refused"`
	Unjudged []said `json:"unjudged"`
}

type said struct{ At, Text string }

// noEntry is how Kafka says that a JAAS entry is nowhere (JaasContext.defaultContext).
const noEntry = "System property 'java.security.auth.login.config' is not set"

// read makes a verdict of the class's answer. With options, the options of the broker's Java are known: then a JAAS
// entry that is not in the file is in no other one either.
func read(out []byte, file *config.Properties, options bool) (Verdict, error) {
	var a answer
	if err := json.Unmarshal(out, &a); err != nil || a.Format != 1 {
		return Verdict{}, fmt.Errorf("the judge printed no verdict: %.100q", out)
	}
	v := Verdict{Kafka: a.Kafka, Java: a.Java}
	secrets := file.Secrets()
	for _, s := range a.Refused {
		r := remark(s, file, secrets)
		if strings.Contains(s.Text, noEntry) && !options {
			r.Text = "its JAAS entry is not in server.properties; whether the options of the broker's Java name a file that " +
				"has it is not known here"
			v.Unjudged = append(v.Unjudged, r)
			continue
		}
		v.Refused = append(v.Refused, r)
	}
	for _, s := range a.Unjudged {
		v.Unjudged = append(v.Unjudged, remark(s, file, secrets))
	}
	return v, nil
}

func remark(s said, file *config.Properties, secrets []string) Remark {
	r := Remark{Text: mask(s.Text, secrets)}
	if file.Line(s.At) > 0 { // of a property
		r.Line = file.Line(s.At)
		r.Text = s.At + ": " + r.Text
		return r
	}
	r.Listener = s.At
	r.Line = lineOf(s, file)
	return r
}

var aboutKey = regexp.MustCompile(`(?i)configuration '?([a-z][a-z0-9._-]*[a-z0-9])`)

// lineOf finds the line of the property that Kafka names, in the listener's own form first.
func lineOf(s said, file *config.Properties) int {
	prefix := "listener.name." + strings.ToLower(s.At) + "."
	var keys []string
	for _, m := range aboutKey.FindAllStringSubmatch(s.Text, -1) {
		keys = append(keys, prefix+m[1], m[1])
	}
	switch {
	case strings.Contains(s.Text, "keystore"):
		keys = append(keys, prefix+"ssl.keystore.location", "ssl.keystore.location")
	case strings.Contains(s.Text, "truststore"):
		keys = append(keys, prefix+"ssl.truststore.location", "ssl.truststore.location")
	case strings.Contains(s.Text, "JAAS"):
		keys = append(keys, prefix+"sasl.enabled.mechanisms", "sasl.enabled.mechanisms")
	}
	i := slices.IndexFunc(keys, func(key string) bool { return file.Line(key) > 0 })
	if i < 0 {
		return 0
	}
	return file.Line(keys[i])
}

const masked = "[hidden]"

// mask replaces what a text has of secret values: the whole ones, and the words in them, which Kafka quotes alone where
// a JAAS entry cannot be read.
func mask(text string, secrets []string) string {
	var words []string
	for _, value := range secrets {
		words = append(words, value)
		for i, w := range strings.FieldsFunc(value, parts) {
			class := i == 0 && strings.Contains(w, ".") // of a login module, which has to be seen
			if !class && len(w) > 2 && !slices.Contains(entryWords, w) {
				words = append(words, w)
			}
		}
	}
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	for _, w := range words {
		if w != "" {
			text = strings.ReplaceAll(text, w, masked)
		}
	}
	return text
}

// parts separates the words of a JAAS entry.
func parts(r rune) bool { return strings.ContainsRune(" \t\r\n\"'=;,\\", r) }

// entryWords are those of a JAAS entry that are no secrets.
var entryWords = []string{"required", "requisite", "sufficient", "optional", "username", "password", "true", "false"}
