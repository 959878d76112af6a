package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/lab"
	"github.com/strongroom/strongroom/internal/lab/supervisor"
)

// mostNodes is far beyond what a Raft cluster should have, and what fits onto the lab's network.
const mostNodes = 15

func newLabCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "lab",
		Short: "Run a cluster of real nodes from a baked image, and break it",
		Long: `lab boots nodes from an image, on a network of its own that needs no root and has no way out, gives
each its credentials, waits for its verdict and lets the nodes join into one cluster. Then it can be broken:
power cuts, network cuts, replaced nodes.

A supervisor in the background keeps it running until "lab down"; nothing survives the supervisor. With a usable
/dev/kvm a node boots in seconds; without one QEMU emulates the processor, which takes minutes.`,
		Example: `  imagebuild lab up --image out/image                     three nodes, unsealed by the lab
  imagebuild lab up --seal transit --vault-binary vault   sealed by a fourth Vault on this host
  imagebuild lab status                                   node, verdict, Raft role, addresses
  eval "$(imagebuild lab env)"; vault operator raft list-peers
  imagebuild lab kill node-1; imagebuild lab start node-1
  imagebuild lab down`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{c.CommandPath(), fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&dir, "state", "", "`directory` of the lab's state: sockets, disks, consoles (default $XDG_STATE_HOME/strongroom/lab)")
	// where is the state directory, as the flag or the default has it.
	where := func() (string, error) {
		if dir != "" {
			return filepath.Abs(dir)
		}
		return supervisor.DefaultDir()
	}
	c.AddCommand(
		newLabUpCommand(where),
		newLabStatusCommand(where),
		newLabEnvCommand(where),
		newLabLogCommand(where),
		labVerb(where, supervisor.Kill, "kill NODE", "Cut a node's power: nothing is flushed, the disk stays", ""),
		labVerb(where, supervisor.Start, "start NODE", "Boot a node again, on the disk that it left", "It waits for the node's verdict."),
		labVerb(where, supervisor.PowerOff, "poweroff NODE", "Press a node's power button, and wait until it has shut down", "The node hands over the lead first, if it has it."),
		labVerb(where, supervisor.Cut, "cut NODE", "Cut a node's network: it runs, and reaches nobody", "A cut cable still has a carrier. `lab heal` ends it."),
		labVerb(where, supervisor.Heal, "heal [NODE]", "Bring a node back onto the network, or all of them", ""),
		labVerb(where, supervisor.Replace, "replace NODE", "Put a fresh node in the place of one", "The old one is killed and taken out of the cluster. The new one has an empty disk and another node id."),
		newLabDownCommand(where),
		newLabSupervisorCommand(),
	)
	return c
}

func newLabUpCommand(where func() (string, error)) *cobra.Command {
	var o lab.ClusterOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Bring up a cluster, and wait until its nodes have joined",
		Long: `up boots the nodes, initialises the first one whose verdict is pass through the API, and waits until the
others have joined by themselves. A node of an image never initialises a cluster; here the lab does.

With --seal shamir the lab holds the one key and unseals every node. With --seal transit a Vault on this host,
outside of the cluster, seals it; its data are in memory and end with the lab.

Interrupted (Ctrl-C), it takes everything down. When nodes do not pass or do not join, the lab stays up to be
looked at: see "lab status", "lab log NODE".`,
		Example: `  imagebuild lab up --image out/image --nodes 3
  imagebuild lab up --seal transit --vault-binary /usr/bin/vault`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkLab(c, &o); err != nil {
				return err
			}
			dir, err := where()
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot tell where this program lies: %w", err)
			}
			status, err := supervisor.Up(c.Context(), []string{program, "lab", "supervise"}, dir, o, c.ErrOrStderr())
			switch {
			case errors.Is(err, context.Canceled):
				return errors.New("interrupted; the lab has been taken down")
			case status == nil:
				return err
			}
			if unfit := status.Unfit(); err == nil && len(unfit) > 0 {
				err = fmt.Errorf("the verdict of %s is not pass\nhint: see its report, or `imagebuild lab log %s`", strings.Join(unfit, ", "), unfit[0])
			}
			return errors.Join(lab.WriteStatus(c.OutOrStdout(), *status), err)
		},
	}
	c.Flags().StringVar(&o.Image, "image", "out/image", "output `directory` of the bake")
	c.Flags().IntVar(&o.Nodes, "nodes", 3, "number of nodes")
	c.Flags().StringVar(&o.Seal, "seal", lab.SealShamir, "what seals the cluster: shamir or transit")
	c.Flags().StringVar(&o.VaultBinary, "vault-binary", "", "the Vault outside, for --seal transit (default $VAULT_BINARY, else vault in the PATH)")
	c.Flags().IntVar(&o.MemoryMiB, "memory", 1536, "memory of each node in MiB")
	c.Flags().IntVar(&o.CPUs, "cpus", 2, "processors of each node; an emulated one has one")
	c.Flags().IntVar(&o.Boots, "boots", 0, "how many nodes boot at once (default all with KVM, one for each processor without)")
	c.Flags().DurationVar(&o.Timeout, "timeout", 15*time.Minute, "how long a node may take to its verdict, and to join")
	return c
}

// checkLab refuses what cannot become a lab, before anything is started.
func checkLab(c *cobra.Command, o *lab.ClusterOptions) error {
	usage := func(format string, args ...any) error {
		return &usageError{c.CommandPath(), fmt.Errorf(format, args...)}
	}
	if o.Nodes < 1 || o.Nodes > mostNodes {
		return usage("--nodes %d: want 1 to %d", o.Nodes, mostNodes)
	}
	if o.MemoryMiB < 512 || o.CPUs < 1 || o.Boots < 0 || o.Timeout <= 0 {
		return usage("want --memory of at least 512, --cpus of at least 1, and neither --boots nor --timeout negative")
	}
	switch o.Seal {
	case lab.SealShamir:
		if o.VaultBinary != "" {
			return usage("--vault-binary is the Vault of --seal transit")
		}
	case lab.SealTransit:
		program := o.VaultBinary
		if program == "" {
			program = os.Getenv("VAULT_BINARY")
		}
		if program == "" {
			program = "vault"
		}
		path, err := exec.LookPath(program)
		if err != nil {
			return usage("--seal transit needs a Vault on this host: %v; name one with --vault-binary", err)
		}
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		o.VaultBinary = path
	default:
		return usage("--seal %q: want shamir or transit", o.Seal)
	}
	// The supervisor has another working directory in mind than whoever reads its log.
	image, err := filepath.Abs(o.Image)
	if err != nil {
		return err
	}
	o.Image = image
	return nil
}

func newLabStatusCommand(where func() (string, error)) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, verdicts, Raft roles and addresses",
		Long: `status asks every node for its report, and the cluster's leader for its members. The addresses are on this host's
loopback; their certificates are of the lab's own authority (see "lab env").`,
		Example: `  imagebuild lab status
  imagebuild lab status --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			reply, err := askLab(c, where, supervisor.Status, "", io.Discard)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(c.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(reply.Status)
			}
			return lab.WriteStatus(c.OutOrStdout(), *reply.Status)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return c
}

func newLabEnvCommand(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the environment of a Vault client for this lab, root token included",
		Long: `env prints VAULT_ADDR (the leader's), VAULT_CACERT and VAULT_TOKEN as commands of a shell. The token is the root token of
the lab's cluster: it is worth something in this lab only.`,
		Example: `  eval "$(imagebuild lab env)"; vault status`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			reply, err := askLab(c, where, supervisor.Env, "", io.Discard)
			if err != nil {
				return err
			}
			for _, v := range [][2]string{{"VAULT_ADDR", reply.Env.Address}, {"VAULT_CACERT", reply.Env.CA}, {"VAULT_TOKEN", reply.Env.Token}} {
				fmt.Fprintf(c.OutOrStdout(), "export %s=%s\n", v[0], quoted(v[1]))
			}
			return nil
		},
	}
}

// quoted protects a value from a shell.
func quoted(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

func newLabLogCommand(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "log NODE",
		Short: "Print what a node wrote to its serial console since it was started",
		Long: `log prints the console of a node: firmware, kernel, units, and what the gate says when it stays closed. It ends where the
node is now; a node that was started again begins anew.`,
		Example: `  imagebuild lab log node-1 | tail`,
		Args:    oneNode,
		RunE: func(c *cobra.Command, args []string) error {
			reply, err := askLab(c, where, supervisor.Status, "", io.Discard)
			if err != nil {
				return err
			}
			for _, n := range reply.Status.Nodes {
				if n.Name != args[0] {
					continue
				}
				console, err := os.Open(n.Console)
				if err != nil {
					return fmt.Errorf("cannot read the console of %s: %w", n.Name, err)
				}
				defer console.Close()
				_, err = io.Copy(c.OutOrStdout(), console)
				return err
			}
			return fmt.Errorf("the lab has no node %q\nhint: `imagebuild lab status` lists them", args[0])
		},
	}
}

// labVerb is a command that does one thing to one node.
func labVerb(where func() (string, error), verb supervisor.Verb, use, short, long string) *cobra.Command {
	optional := strings.Contains(use, "[")
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    strings.TrimSpace(short + ".\n" + long),
		Example: "  imagebuild lab " + strings.NewReplacer("[", "", "]", "", "NODE", "node-1").Replace(use),
		Args: func(c *cobra.Command, args []string) error {
			if optional && len(args) == 0 {
				return nil
			}
			return oneNode(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			_, err := askLab(c, where, verb, name, c.ErrOrStderr())
			return err
		},
	}
}

func newLabDownCommand(where func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the lab, and remove everything that it made",
		Long: `down kills the machines and removes disks, consoles and keys. After a crash of the supervisor, whose machines died with
it, it removes what is left.`,
		Example: `  imagebuild lab down`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := where()
			if err != nil {
				return err
			}
			return hintNoLab(supervisor.TakeDown(c.Context(), dir), dir)
		},
	}
}

// newLabSupervisorCommand is what `lab up` leaves in the background.
func newLabSupervisorCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "supervise",
		Hidden: true,
		Args:   noArguments,
		RunE: func(*cobra.Command, []string) error {
			return supervisor.Serve(func(ctx context.Context, o lab.ClusterOptions) (supervisor.Lab, error) {
				return lab.NewCluster(ctx, o)
			})
		},
	}
}

// oneNode wants the name of a node, and nothing more.
func oneNode(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{c.CommandPath(), fmt.Errorf("want the name of one node, got %d", len(args))}
	}
	return nil
}

func askLab(c *cobra.Command, where func() (string, error), verb supervisor.Verb, node string, progress io.Writer) (supervisor.Reply, error) {
	dir, err := where()
	if err != nil {
		return supervisor.Reply{}, err
	}
	reply, err := supervisor.Do(c.Context(), dir, verb, node, progress)
	return reply, hintNoLab(err, dir)
}

// hintNoLab names the directory that was looked at.
func hintNoLab(err error, dir string) error {
	if errors.Is(err, supervisor.ErrNoLab) {
		return fmt.Errorf("%w in %s\nhint: `imagebuild lab up --image out/image`", err, dir)
	}
	return err
}
