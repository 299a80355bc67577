// Package tables keeps parts of the documents equal to what the code says or what
// was measured. It owns what stands between two marks of a document, and nothing else.
package tables

import (
	"fmt"
	"os"
	"regexp"

	"github.com/google/go-cmp/cmp"
)

// Replace puts text between the lines `<!-- NAME -->` and `<!-- /NAME -->` of a
// document, in place of what stands there. The first may tell people where the
// text comes from, after a colon: `<!-- NAME: written by ... -->`. A document that
// has not each of them once is an error.
func Replace(path, name, text string) error {
	before, _, after, err := cut(path, name)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(before+text+after), 0o644)
}

// Hold returns an error if another text stands between the lines; with write it
// replaces that instead.
func Hold(path, name, text string, write bool) error {
	if write {
		return Replace(path, name, text)
	}
	_, old, _, err := cut(path, name)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(old, text); diff != "" {
		return fmt.Errorf(
			"%s differs between the lines of %q; the first of them tells what writes it (-is +should be):\n%s", path,
			name, diff)
	}
	return nil
}

// HoldFile does the same with a whole file.
func HoldFile(path, text string, write bool) error {
	if write {
		return os.WriteFile(path, []byte(text), 0o644)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(string(old), text); diff != "" {
		return fmt.Errorf("%s differs; -update writes it (-is +should be):\n%s", path, diff)
	}
	return nil
}

// cut returns a document in three parts; the marks are in the outer ones.
func cut(path, name string) (before, between, after string, err error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return "", "", "", err
	}
	quoted := regexp.QuoteMeta(name)
	begins := regexp.MustCompile(`(?m)^<!-- `+quoted+`(:.*)? -->\n`).FindAllIndex(doc, -1)
	ends := regexp.MustCompile(`(?m)^<!-- /`+quoted+` -->$`).FindAllIndex(doc, -1)
	if len(begins) != 1 || len(ends) != 1 || begins[0][1] > ends[0][0] {
		return "", "", "", fmt.Errorf(
			"%s needs one line `<!-- %s -->` and then one line `<!-- /%s -->`: it has %d and %d", path, name, name,
			len(begins), len(ends))
	}
	return string(doc[:begins[0][1]]), string(doc[begins[0][1]:ends[0][0]]), string(doc[ends[0][0]:]), nil
}
