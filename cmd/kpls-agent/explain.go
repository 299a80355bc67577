package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/docs"
	"example.com/kpls-agent/internal/report"
	"example.com/kpls-agent/internal/restart"
)

func newExplain(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "explain [REASON]", Short: "Say what a reason means, and what to do about it",
		Long: "Prints what the manual says of a reason, a phase, a word of the first line or a word of the column AGENT,\n" +
			"as `kpls-agent status` shows them. Without REASON it lists all of them, with the first sentence of each. The\n" +
			"whole manual is " + docs.Installed + ".",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return docs.Codes(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listEntries(s)
			}
			var code restart.Code
			// In any case and in several words, as the first line of status has it; also the code of an earlier build.
			word := strings.ToLower(strings.Join(args, " "))
			if err := code.UnmarshalText([]byte(wordOf(word))); err != nil {
				return err
			}
			entries := slices.DeleteFunc(docs.Entries(), func(e docs.Entry) bool { return e.Code != string(code) })
			if len(entries) == 0 {
				return invalid(fmt.Errorf("%q is no reason, phase or word of `kpls-agent status`%s; `kpls-agent explain` "+
					"lists them", strings.Join(args, " "), nearly(word, docs.Codes())))
			}
			var texts []string
			for _, e := range entries {
				texts = append(texts, e.String())
			}
			_, err := fmt.Fprint(s.stdout, report.Wrap(strings.Join(texts, "\n"), screenOf(s).width))
			return err
		},
	}
}

// wordOf is the name in JSON of a word of the first line, and anything else as it is.
func wordOf(text string) string {
	if text == "no agent has reported" {
		return string(report.Unheardof)
	}
	return strings.ReplaceAll(text, " ", "_")
}

func listEntries(s *shared) error {
	t := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	kind := ""
	for _, e := range docs.Entries() {
		if e.Kind != kind {
			fmt.Fprintf(t, "%sS\tMEANING\n", strings.ToUpper(e.Kind))
			kind = e.Kind
		}
		first, _, _ := strings.Cut(e.Means, ". ")
		fmt.Fprintf(t, "%s\t%s\n", e.Code, first)
	}
	return t.Flush()
}

// nearly is a hint at the words that are spelled nearly so, or "".
func nearly(word string, words []string) string {
	c := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, w := range words {
		c.AddCommand(&cobra.Command{Use: w, Run: func(*cobra.Command, []string) {}})
	}
	return didYouMean(c, word)
}
