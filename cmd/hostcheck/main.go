// Command hostcheck is the agent of a node: it proves that the host is what was baked.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// buildVersion is set by the linker.
var buildVersion = "0.0.0-dev"

// Exit codes, as in `hostcheck --help`.
const (
	exitPass        = 0
	exitFail        = 1
	exitUnknown     = 2
	exitGate        = 3
	exitJoin        = 4
	exitUsage       = 64
	exitInterrupted = 130
)

// exit is an error that carries the exit code. Its message may be empty when everything has been
// said on standard output.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}
func (e *exit) Unwrap() error { return e.err }

func code(err error, interrupted bool) int {
	if err == nil {
		return exitPass
	}
	var e *exit
	if !errors.As(err, &e) {
		// cobra's own complaints are about the command line.
		e = &exit{exitUsage, err}
	}
	if e.err != nil {
		fmt.Fprintf(os.Stderr, "hostcheck: %v\n", e.err)
		if h := hint(e.err); h != "" {
			fmt.Fprintf(os.Stderr, "hostcheck: hint: %s\n", h)
		}
	}
	if interrupted {
		return exitInterrupted
	}
	return e.code
}

// hint finds the way out that an error of any package carries.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hostcheck",
		Short: "Prove that this host is what was baked",
		Long: `hostcheck verifies a host against the baseline that its image carries: the effective state of
kernel, systemd, nftables and Vault's own process, not the text of their configuration.

Exit codes:
  0    every must control passes (or its stage has not come yet)
  1    a must control failed; of configure, run and leave: it could not be done
  2    no must control failed, but about one nothing could be said
  3    join: the host does not pass, so that the node may not join
  4    join: the node could not join
  64   wrong use
  130  interrupted`,
		// A gate that forgot its command must not look as if it had passed.
		RunE: func(*cobra.Command, []string) error {
			return &exit{exitUsage, &hinted{errors.New("no command"), "hostcheck --help lists them"}}
		},
		Version:       buildVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.AddCommand(verifyCommand(), explainCommand(), captureCommand(), configureCommand(), runCommand(), joinCommand(), leaveCommand(), bootstrapCommand(), attestCommand(), attestServiceCommand(), clockCommand(), auditCommand(), dataDiskCommand(), installCommand(), recoveryCommand(), snapshotCommand())
	return cmd
}

// complete tells a shell what a flag takes.
func complete(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there: the tests complete each
}
