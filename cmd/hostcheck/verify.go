package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

type verifyFlags struct {
	stage    string
	root     string
	baseline string
	capture  string
	format   string
	output   string
	verbose  bool
	publish  bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Judge a host, a root tree or a capture against its baseline",
		Long: `verify judges a host against the baseline that lies on it.

  --stage image   a root tree in which nothing runs (use --root)
  --stage boot    this machine before Vault: what the gate asks
  --stage run     this machine with Vault running
  --stage member  this machine as a member of its cluster, with Vault unsealed; its API is asked with the token
                  strongroom.agent.token in $CREDENTIALS_DIRECTORY

Reading the firewall and systemd's private socket needs root; what cannot be read is unknown,
and unknown never passes.`,
		Example: `  hostcheck verify --stage image --root ./tree
  hostcheck verify --stage boot --format json
  hostcheck verify --stage run --format html --output report.html
  hostcheck verify --stage boot --capture node-1.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verify(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.stage, "stage", "boot", "judge what holds at `STAGE`: image, boot, run or member")
	complete(cmd, "stage", "image", "boot", "run", "member")
	cmd.Flags().StringVar(&f.root, "root", "/", "`DIR` that holds the host's files")
	cmd.Flags().StringVar(&f.baseline, "baseline", "", "`FILE` with another baseline than the host's own, "+baseline.Path)
	cmd.Flags().StringVar(&f.capture, "capture", "", "judge the recording in `FILE`, made by hostcheck capture, instead of this machine")
	cmd.Flags().StringVar(&f.format, "format", "text", "`FORMAT` of the report: "+report.FormatNames())
	complete(cmd, "format", strings.Split(report.FormatNames(), ", ")...)
	cmd.Flags().StringVar(&f.output, "output", "", "write the report to `FILE`, whole or not at all, and not to standard output")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "also what passes: the facts behind it (text), results of its own (sarif)")
	cmd.Flags().BoolVar(&f.publish, "publish", false, "do as the gate does: also write "+telemetry.ReportPath+" and to the journal, and print only what needs attention")
	return cmd
}

func verify(ctx context.Context, f verifyFlags) error {
	stage, err := control.ParseStage(f.stage)
	if err != nil {
		return &exit{exitUsage, err}
	}
	format, err := report.ParseFormat(f.format)
	if err != nil {
		return &exit{exitUsage, err}
	}
	if f.capture != "" && f.root != "/" {
		return &exit{exitUsage, errors.New("--capture and --root exclude each other")}
	}
	// A verification allocates about 5 MiB and is over in some milliseconds. Go's collector would start at
	// 4 MiB and cost a tenth of that time, and memory of its own, for what the exit gives back anyway.
	debug.SetGCPercent(400)
	h, closeHost, err := openHost(ctx, f, stage)
	if err != nil {
		return &exit{exitUnknown, err}
	}
	defer closeHost()
	b, digest, err := loadBaseline(h, f.baseline)
	if err != nil {
		return &exit{exitOf(err), err}
	}
	result := check.Run(ctx, b, digest, h, stage, check.Options{})
	doc := report.New(result, buildVersion)
	if f.publish {
		if err := telemetry.Publish(doc, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			return &exit{exitUnknown, err}
		}
	}
	options := report.Options{Verbose: f.verbose, Brief: f.publish}
	if f.output == "" {
		options.Color = wantsColor(os.Stdout)
		err = report.Write(os.Stdout, doc, format, options)
	} else {
		err = atomicfile.Write(f.output, 0o644, func(w io.Writer) error { return report.Write(w, doc, format, options) })
	}
	if err != nil {
		return &exit{exitUnknown, err}
	}
	switch doc.Verdict {
	case check.Pass:
		return nil
	case check.Fail:
		return &exit{code: exitFail}
	}
	return &exit{code: exitUnknown}
}

// openHost gives what is to be judged.
func openHost(ctx context.Context, f verifyFlags, stage control.Stage) (host.Host, func(), error) {
	switch {
	case f.capture != "":
		raw, err := os.ReadFile(f.capture)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot open capture: %w", err)
		}
		h, err := host.ReplayBytes(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.capture, err)
		}
		return h, func() {}, nil
	case !stage.Runs():
		h, err := host.Tree(f.root)
		if err != nil {
			return nil, nil, err
		}
		return h, func() { h.Close() }, nil
	}
	options := host.LiveOptions{Root: f.root}
	if stage == control.StageMember {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		api, member := agent.NewMember(os.Getenv("CREDENTIALS_DIRECTORY"), "https://127.0.0.1:"+thisNode(log).apiPort,
			agent.NewSession(os.Getenv("CREDENTIALS_DIRECTORY"), node.IdentityPath, log), log)
		if member.HasToken() {
			if err := member.Keep(ctx); err != nil {
				log.Warn("facts of stage member stay pending", "error", err)
			}
		}
		options.API = api
	}
	h, err := host.Live(options)
	if err != nil {
		return nil, nil, err
	}
	return h, func() { h.Close() }, nil
}

// loadBaseline reads the host's own baseline, or another one from this machine's disk.
func loadBaseline(h host.Host, path string) (*baseline.Baseline, string, error) {
	if path != "" {
		file, err := os.Open(path)
		if err != nil {
			return nil, "", &hinted{fmt.Errorf("cannot open baseline: %w", err), "name a baseline that can be read with --baseline"}
		}
		defer file.Close()
		b, digest, err := baseline.Decode(file)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		return b, digest, nil
	}
	content, err := h.ReadFile(baseline.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", &hinted{fmt.Errorf("cannot read baseline: no %s on this host", baseline.Path),
			"this is not a Strongroom image; name a baseline with --baseline"}
	}
	if err != nil {
		return nil, "", &hinted{fmt.Errorf("cannot read baseline: %w", err), "name a baseline that can be read with --baseline"}
	}
	if err := checkSignature(h, content); err != nil {
		return nil, "", err
	}
	b, digest, err := baseline.DecodeBytes(content)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", baseline.Path, err)
	}
	return b, digest, nil
}

// checkSignature verifies the baseline with the public key of the image, before a word of it is believed. An image that was baked without a key
// has neither key nor signature; one without the other is a forgery. What the recordings of older programs do not know is not there.
func checkSignature(h host.Host, content []byte) error {
	var files [2][]byte
	var absent [2]bool
	for i, path := range []string{baseline.SignaturePath, baseline.KeyPath} {
		var err error
		files[i], err = h.ReadFile(path)
		absent[i] = errors.Is(err, fs.ErrNotExist) || errors.Is(err, host.ErrNotRecorded)
		if err != nil && !absent[i] {
			return &hinted{fmt.Errorf("cannot verify the baseline: %w", err), "a baseline of which nothing can be said keeps the gate closed"}
		}
	}
	if absent[0] && absent[1] {
		return nil
	}
	const hint = "replace the node: nothing that its baseline says can be believed"
	for i, path := range []string{baseline.SignaturePath, baseline.KeyPath} {
		if absent[i] {
			return &hinted{fmt.Errorf("%w: %s was taken away", baseline.ErrForged, path), hint}
		}
	}
	_, err := baseline.VerifySignature(content, files[0], files[1])
	if errors.Is(err, baseline.ErrForged) {
		return &hinted{err, hint}
	}
	return err
}

// exitOf is the exit code of a baseline that cannot be used: a forged one is a failure, since something definite is wrong with the host, and of one
// that cannot be read nothing can be said. Either keeps the gate closed.
func exitOf(err error) int {
	if errors.Is(err, baseline.ErrForged) {
		return exitFail
	}
	return exitUnknown
}

// hinted is an error with its way out.
type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string  { return h.hint }
func (h *hinted) Unwrap() error { return h.error }

// wantsColor says whether escape sequences do good there. A character device alone is no terminal:
// /dev/null is one too.
func wantsColor(f *os.File) bool {
	if term := os.Getenv("TERM"); term == "" || term == "dumb" || os.Getenv("NO_COLOR") != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
