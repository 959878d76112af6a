package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
)

func newControlsCommand() *cobra.Command {
	var flags profileFlags
	var markdown, json bool
	c := &cobra.Command{
		Use:   "controls",
		Short: "List the controls of a profile",
		Long: `controls lists what an image of a profile states about its host, and what closes the gate.

A control of severity "must" that does not hold keeps Vault down; one of severity "should"
is reported. The stage says when its effective state is judged for the first time: image
(the baked tree), boot (before Vault), run (Vault's process), member (joined and unsealed).

With --json it writes the baseline itself, as it lies on a node: every value resolved, in
canonical form, so that its SHA-256 is the digest that reports name.`,
		Example: `  imagebuild controls
  imagebuild controls --profile vault/cloud --set memory_lock=off
  imagebuild controls --layout installed --distribution ubuntu/noble
  imagebuild controls --controls controls/site.yaml --waivers waivers.yaml
  imagebuild controls --json | jq '.controls[] | select(.severity == "must").id'
  imagebuild controls --markdown > hardening/CONTROLS.md`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			b, catalogue, err := flags.compile(c)
			if err != nil {
				return err
			}
			switch {
			case markdown && json:
				return &usageError{c.CommandPath(), errors.New("--markdown and --json exclude each other")}
			case markdown:
				return writeReference(c.OutOrStdout(), b, catalogue)
			case json:
				canonical, err := b.JSON()
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(canonical)
				return err
			}
			return writeControlsTable(c.OutOrStdout(), b, catalogue.Parameters)
		},
	}
	flags.register(c)
	c.Flags().BoolVar(&markdown, "markdown", false, "write the reference, as in hardening/CONTROLS.md")
	c.Flags().BoolVar(&json, "json", false, "write the baseline, in its canonical form")
	return c
}

func writeControlsTable(w io.Writer, b *baseline.Baseline, parameters []baseline.Parameter) error {
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	must := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CONTROL\tSEVERITY\tSTAGE\tGUIDE\tTITLE")
	for _, c := range b.Controls {
		if c.Severity == control.Must {
			must++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.ID, c.Severity, c.Stage, cmp.Or(strings.Join(c.Guide, " "), "-"), c.Title)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(parameters) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "PARAMETER\tVALUE\tTYPE\tVALUES\tDESCRIPTION")
		for _, p := range parameters {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Name, cmp.Or(p.Shown(b.Profile.Parameters[p.Name]), "-"), p.Type, p.Values(), oneLine(p.Description))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(b.Waivers) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "WAIVED\tUNTIL\tOWNER\tREASON")
		for _, waiver := range b.Waivers {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", waiver.Control, waiver.Expires.Format(time.RFC3339), waiver.Owner, oneLine(waiver.Reason))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	items := cover(b.Guide, b.Controls)
	counts := map[string]int{}
	for _, i := range items {
		counts[i.class()]++
	}
	_, err = fmt.Fprintf(w, "\nguide: %d items, %d proven on the node, %d of these in part, %d by a procedure only\n%d controls, %d of them close the gate; baseline %s\n",
		len(items), counts[proven]+counts[provenInPart], counts[provenInPart], counts[byProcedure], len(b.Controls), must, digest)
	return err
}

// oneLine joins the lines of a folded text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
