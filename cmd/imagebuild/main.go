// Command imagebuild bakes golden images. Installed as packer-plugin-strongroom it is Packer's
// plugin; called by people it shows what a bake would put into an image.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/packer-plugin-sdk/plugin"
	"github.com/hashicorp/packer-plugin-sdk/version"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/image"
	builder "github.com/strongroom/strongroom/internal/plugin"
)

// buildVersion is set by the linker; it is a semantic version, or Packer would not load the plugin.
var buildVersion = "0.1.0-dev"

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 64
)

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && (args[0] == "describe" || args[0] == "start") {
		if err := serve(args); err != nil {
			fmt.Fprintf(stderr, "imagebuild: %v\n", err)
			return exitFailure
		}
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "imagebuild: %v\n", err)
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(stderr, "hint: %s --help\n", usage.command)
			return exitUsage
		}
		var verdict *verdictError
		if errors.As(err, &verdict) {
			return verdict.code
		}
		if hint := image.Hint(err); hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", hint)
		}
		return exitFailure
	}
	return exitOK
}

// serve is the side that Packer talks to. Nothing but the protocol goes to standard output.
func serve(args []string) error {
	set := plugin.NewSet()
	set.SetVersion(version.NewRawVersion(buildVersion))
	set.RegisterBuilder("image", &builder.Builder{Catalogue: hardening.Load, Version: buildVersion})
	set.RegisterProvisioner("harden", &builder.Provisioner{Catalogue: hardening.Load})
	set.RegisterDatasource("release", &builder.Datasource{})
	set.RegisterPostProcessor("launch-template", &builder.LaunchTemplate{})
	set.RegisterPostProcessor("metal", &builder.Metal{Catalogue: hardening.Load})
	return set.RunCommand(args...)
}

// usageError is a command line that makes no sense.
type usageError struct {
	command string
	error
}

func (e *usageError) Unwrap() error { return e.error }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "imagebuild",
		Short: "Bake hardened, single-tenant golden images for Vault",
		Long: `imagebuild renders the hardening catalogue into golden images for Vault.

Images are baked by Packer: this program, installed as packer-plugin-strongroom, is the
builder strongroom-image. The commands below show what goes into an image without baking
one. Both render the same catalogue: the same profile gives the same bytes everywhere.`,
		Example: `  imagebuild controls                           what an image states, and what closes the gate
  imagebuild overlay --output overlay.tar       the files that hardening adds, as a tar
  packer build packer/local.pkr.hcl             bake an image
  imagebuild prove --image out/image            boot it, and show what the node reports
  imagebuild lab up --image out/image           boot three, and let them become a cluster
  imagebuild inspect out/image                  look into it, and verify it, without booting it
  imagebuild report --format html --output report.html out/image/report.json`,
		Version:       buildVersion,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{c.CommandPath(), fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("imagebuild {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{c.CommandPath(), err} })
	root.AddCommand(newControlsCommand(), newOverlayCommand(), newProveCommand(), newLabCommand(), newNetbootCommand(), newReportCommand(), newMetalCommand(), newLockCommand(), newInspectCommand(), newDiffCommand(), newVerifyCommand(), newVerifyAttestCommand(), newSnapshotCommand(), newRolloutCommand(), newFleetCommand())
	return root
}

// noArguments refuses positional arguments as the usage error that they are.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{c.CommandPath(), fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// complete tells a shell what a flag takes.
func complete(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there: the tests complete each
}
