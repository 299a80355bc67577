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
		Long: "Prints what the manual says of a reason or a phase, as `kpls-agent status` shows them. Without REASON it\n" +
			"lists all of them, with the first sentence of each. The whole manual is " + docs.Installed + ".",
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return docs.Codes(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listEntries(s)
			}
			var code restart.Code
			// In any case, as the first line of status has it; also the code of an earlier build.
			if err := code.UnmarshalText([]byte(strings.ToLower(args[0]))); err != nil {
				return err
			}
			entries := slices.DeleteFunc(docs.Entries(), func(e docs.Entry) bool { return e.Code != string(code) })
			if len(entries) == 0 {
				return invalid(fmt.Errorf("%q is neither a reason nor a phase%s; `kpls-agent explain` lists them", args[0],
					nearly(strings.ToLower(args[0]), docs.Codes())))
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
