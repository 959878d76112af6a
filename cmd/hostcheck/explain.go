package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/host"
)

func explainCommand() *cobra.Command {
	var root, path string
	cmd := &cobra.Command{
		Use:   "explain [ID]",
		Short: "Say what a control asks, why, and what to do when it fails",
		Long: `explain shows one control of the host's baseline in full: what it states, why, which item of the
hardening guide it serves and the way out when it fails. Without an id it lists the controls.`,
		Example: "  hostcheck explain memory-swap-off",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := host.Tree(root)
			if err != nil {
				return &exit{exitUnknown, err}
			}
			defer h.Close()
			b, _, err := loadBaseline(h, path)
			if err != nil {
				return &exit{exitUnknown, err}
			}
			if len(args) == 0 {
				for _, c := range b.Controls {
					fmt.Printf("%-32s %-6s %-6s %s\n", c.ID, c.Severity, c.Stage, c.Title)
				}
				return nil
			}
			return explain(b, args[0])
		},
	}
	cmd.Flags().StringVar(&root, "root", "/", "`DIR` that holds the host's files")
	cmd.Flags().StringVar(&path, "baseline", "", "`FILE` with another baseline than the host's own, "+baseline.Path)
	return cmd
}

func explain(b *baseline.Baseline, id string) error {
	c, ok := b.Find(id)
	if !ok {
		return &exit{exitUsage, &hinted{fmt.Errorf("no control %q in this baseline", id), "hostcheck explain lists them"}}
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n%s\n\n", c.ID, c.Title)
	fmt.Fprintf(&w, "Severity: %s\nJudged:   from stage %s on\n", c.Severity, c.Stage)
	for _, id := range c.Guide {
		item, _ := b.Guide.Item(id) // an old baseline has ids alone
		fmt.Fprintf(&w, "Guide:    %s\n", strings.TrimSpace(id+" "+item.Title))
	}
	if len(c.Refs) > 0 {
		fmt.Fprintf(&w, "See also: %s\n", strings.Join(c.Refs, ", "))
	}
	if waiver := b.Waiver(id); waiver != nil {
		fmt.Fprintf(&w, "Waived:   until %s, by %s: %s\n", waiver.Expires.Format(time.RFC3339), waiver.Owner, waiver.Reason)
	}
	fmt.Fprintf(&w, "\nWhy: %s\n", c.Rationale)
	if c.Fix != "" {
		fmt.Fprintf(&w, "\nWhen it fails: %s\n", c.Fix)
	}
	w.WriteString("\nIt states:\n")
	for _, r := range c.Resources {
		fields, err := baseline.Fields(r)
		if err != nil {
			return &exit{exitUnknown, err}
		}
		fmt.Fprintf(&w, "  %s %s\n", r.Key().Kind, fields)
	}
	_, err := os.Stdout.WriteString(w.String())
	return err
}
