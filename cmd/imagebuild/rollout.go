package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/rollout"
)

type rolloutFlags struct {
	image, user, passwordFile string
	apiPort, agentPort, size  int
	patience                  time.Duration
}

const (
	// rolloutPace is between two looks at the cluster: autopilot looks every ten seconds itself.
	rolloutPace = 2 * time.Second
	// rolloutSettle is how long a server may take to open its ports and lock its memory before a failure of its node counts.
	rolloutSettle = 90 * time.Second
)

func newRolloutCommand() *cobra.Command {
	var f rolloutFlags
	c := &cobra.Command{
		Use:   "rollout --image DIR [-- COMMAND [ARG]...]",
		Short: "Move a cluster to a new image, one verified node after the other",
		Long: `rollout compares what the nodes of a cluster run with an image, and replaces those that run another: standbys first, the oldest
version first, the active node last and only after it has handed over the lead.

For each node it waits until the cluster can lose one, takes the node out of the Raft configuration, runs COMMAND, and
waits for a new member that runs the image, votes, is healthy and passes its own verification. It stops at the first node that does not.
Nothing is kept between two runs: run it again, and it goes on from what it finds.

COMMAND destroys the node's machine, and has another one started from the image. It gets STRONGROOM_NODE_ID, STRONGROOM_NODE_HOST and
STRONGROOM_IMAGE_VERSION in its environment. Without it the nodes and their order are printed, and nothing is changed.

The cluster is asked as the server's own command line asks it: VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT, VAULT_CLIENT_CERT and the like. The nodes' agents
are asked with the same authorities and the same certificate.`,
		Example: `  imagebuild rollout --image out/image
  imagebuild rollout --image out/image -- sh -c 'aws autoscaling terminate-instance-in-auto-scaling-group \
      --instance-id "${STRONGROOM_NODE_ID%-*}" --no-should-decrement-desired-capacity'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c, args); err != nil {
				return &usageError{c.CommandPath(), err}
			}
			target, err := readTarget(f.image)
			if err != nil {
				return err
			}
			source, err := f.source()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printPlan(c.Context(), c.OutOrStdout(), source, target)
			}
			r := &rollout.Rollout{
				Cluster: source, Target: target, Size: f.size, Patience: f.patience, Settle: rolloutSettle, Pace: rolloutPace,
				Replace: func(ctx context.Context, m rollout.Member) error {
					return replaceBy(ctx, args, target, m, c.ErrOrStderr())
				},
				Say: func(line string) {
					fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", time.Now().UTC().Format(time.TimeOnly), line)
				},
			}
			return r.Run(c.Context())
		},
	}
	c.Flags().StringVar(&f.image, "image", "", "`DIR` that the image was baked into, or its manifest.json")
	c.Flags().IntVar(&f.size, "size", 0, "how many members the cluster is to have; 0: as many as now. After an interrupted rollout it has one less")
	c.Flags().DurationVar(&f.patience, "patience", 20*time.Minute, "how long each wait may take: for a new node, or for the cluster to be whole")
	c.Flags().IntVar(&f.apiPort, "api-port", 8200, "`PORT` of the servers' API")
	c.Flags().IntVar(&f.agentPort, "agent-port", 9810, "`PORT` of the agents")
	c.Flags().StringVar(&f.user, "agent-user", "", "`USER` for the agents, where node.hcl has basic_auth")
	c.Flags().StringVar(&f.passwordFile, "agent-password-file", "", "`FILE` with that user's password")
	return c
}

// check says what is wrong with the command line. Every mistake is told at once.
func (f *rolloutFlags) check(c *cobra.Command, args []string) error {
	var mistakes []error
	if f.image == "" {
		mistakes = append(mistakes, errors.New("--image: name the image that the nodes are to run"))
	}
	if at := c.ArgsLenAtDash(); len(args) > 0 && at != 0 {
		mistakes = append(mistakes, fmt.Errorf("unknown argument %q: write the command behind --", args[0]))
	}
	if (f.user == "") != (f.passwordFile == "") {
		mistakes = append(mistakes, errors.New("--agent-user and --agent-password-file go together"))
	}
	if f.size < 0 {
		mistakes = append(mistakes, fmt.Errorf("--size: %d is no number of members", f.size))
	}
	if f.patience <= 0 {
		mistakes = append(mistakes, fmt.Errorf("--patience: %s is no time to wait", f.patience))
	}
	for flag, port := range map[string]int{"--api-port": f.apiPort, "--agent-port": f.agentPort} {
		if port < 1 || port > 65535 {
			mistakes = append(mistakes, fmt.Errorf("%s: %d is no port", flag, port))
		}
	}
	return errors.Join(mistakes...)
}

// readTarget takes the root hash and the version out of an image's manifest.
func readTarget(name string) (rollout.Target, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, image.ManifestName)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return rollout.Target{}, fmt.Errorf("cannot read the image's manifest: %w", err)
	}
	var manifest struct {
		Schema   string `json:"schema"`
		Version  string `json:"version"`
		RootHash string `json:"root_hash"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return rollout.Target{}, fmt.Errorf("cannot read the image's manifest %s: %w", name, err)
	}
	if manifest.Schema != image.ManifestSchema || manifest.RootHash == "" {
		return rollout.Target{}, fmt.Errorf("%s is no manifest of an image (%s)", name, image.ManifestSchema)
	}
	return rollout.Target{Root: manifest.RootHash, Version: manifest.Version}, nil
}

// source reaches the cluster by the environment.
func (f *rolloutFlags) source() (*rollout.Source, error) {
	config := vault.DefaultConfig()
	if config.Error != nil {
		return nil, fmt.Errorf("cannot reach the cluster: %w", config.Error)
	}
	client, err := vault.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the cluster: %w", err)
	}
	if client.Token() == "" {
		return nil, errors.New("cannot ask the cluster: there is no token in VAULT_TOKEN; docs/rollout.md has its policy")
	}
	client.SetMaxRetries(0) // every look is repeated by itself
	transport, ok := config.HttpClient.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("cannot reach the agents: the client of the API has an unusual transport")
	}
	trust := new(tls.Config)
	if transport.TLSClientConfig != nil {
		trust = transport.TLSClientConfig.Clone()
		trust.ServerName = "" // VAULT_TLS_SERVER_NAME is the cluster's name, and an agent has its node's
		trust.NextProtos = nil
	}
	s := &rollout.Source{
		Client: client, APIPort: f.apiPort, AgentPort: f.agentPort,
		Agents: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, DisableKeepAlives: true}},
	}
	if f.user != "" {
		password, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("--agent-password-file: %w", err)
		}
		s.User, s.Password = f.user, strings.TrimRight(string(password), "\r\n")
	}
	return s, nil
}

// printPlan shows what a rollout would do.
func printPlan(ctx context.Context, w io.Writer, source *rollout.Source, target rollout.Target) error {
	c, err := source.Look(ctx)
	if err != nil {
		return err
	}
	order := map[string]int{}
	for i, m := range c.Order(target) {
		order[m.ID] = i + 1
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tHOST\tROLE\tIMAGE\tVERDICT\tREPLACED")
	for _, m := range c.Members {
		role, verdict, when := "standby", string(m.Verdict), "no: runs "+target.Version
		switch {
		case m.Active:
			role = "active"
		case !m.Voter:
			role = "non-voter"
		}
		if !m.Healthy {
			role += ", not healthy"
		}
		if m.Silent != nil {
			verdict = m.Silent.Error()
		}
		if place, outdated := order[m.ID]; outdated {
			when = fmt.Sprint(place)
		} else if m.Root != target.Root {
			when = "unknown"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Host, role, strings.TrimSpace(m.Image), verdict, when)
	}
	return table.Flush()
}

// replaceBy runs the user's command for one node.
func replaceBy(ctx context.Context, argv []string, target rollout.Target, m rollout.Member, output io.Writer) error {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = append(os.Environ(), "STRONGROOM_NODE_ID="+m.ID, "STRONGROOM_NODE_HOST="+m.Host, "STRONGROOM_IMAGE_VERSION="+target.Version)
	command.Stdout, command.Stderr = output, output
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return nil
}
