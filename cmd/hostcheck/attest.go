package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/telemetry"
)

const (
	// tpmDevice goes by way of the kernel's resource manager, so that several programs can use the TPM.
	tpmDevice = "/dev/tpmrm0"
	// eventLog is what the firmware says that it has measured.
	eventLog = "/sys/kernel/security/tpm0/binary_bios_measurements"
)

type attestFlags struct {
	nonce, report, output string
	printKey              bool
}

func attestCommand() *cobra.Command {
	var f attestFlags
	cmd := &cobra.Command{
		Use:   "attest",
		Short: "Have the TPM vouch for a report",
		Long: `attest asks the TPM for a quote: its signature over its registers, over the nonce of whoever asks, and over the
digest of a report. The answer is one JSON document (strongroom.attestation/v1), for ` + "`imagebuild verify-attest`" + `.

The attestation key is made from the TPM's own seed, the same each time; nothing is stored. --print-key shows its public
part, to be pinned when the node is enrolled.`,
		Example: `  hostcheck attest --nonce "$(openssl rand -hex 32)" --output attestation.json
  hostcheck verify --stage run --format json | hostcheck attest --nonce $NONCE --report -
  hostcheck attest --print-key`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runAttest(f) },
	}
	cmd.Flags().StringVar(&f.nonce, "nonce", "", "`HEX` from whoever asks: 16 to 64 random bytes")
	cmd.Flags().StringVar(&f.report, "report", telemetry.ReportPath, "the report to vouch for, from `FILE`; - reads standard input")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write to `FILE`, whole or not at all, and not to standard output")
	cmd.Flags().BoolVar(&f.printKey, "print-key", false, "only print the public part of the attestation key, PEM")
	return cmd
}

func runAttest(f attestFlags) error {
	var nonce attest.Hex
	switch {
	case f.printKey && f.nonce != "":
		return &exit{exitUsage, errors.New("--print-key and --nonce exclude each other")}
	case !f.printKey && f.nonce == "":
		return &exit{exitUsage, &hinted{errors.New("no --nonce"), "whoever asks sends one, so that an old answer is worth nothing"}}
	case !f.printKey:
		var err error
		if nonce, err = attest.ParseNonce(f.nonce); err != nil {
			return &exit{exitUsage, err}
		}
	}
	answer, err := answerAttest(nonce, f)
	if err != nil {
		return &exit{exitFail, err}
	}
	if f.output == "" {
		_, err = os.Stdout.Write(answer)
	} else {
		err = atomicfile.Write(f.output, 0o644, func(w io.Writer) error { _, err := w.Write(answer); return err })
	}
	if err != nil {
		return &exit{exitFail, err}
	}
	return nil
}

func answerAttest(nonce attest.Hex, f attestFlags) ([]byte, error) {
	if f.printKey {
		tpm, err := openTPM()
		if err != nil {
			return nil, err
		}
		defer tpm.Close()
		key, err := attest.PublicKey(tpm)
		return []byte(key), err
	}
	var report []byte
	var err error
	if f.report == "-" {
		report, err = io.ReadAll(io.LimitReader(os.Stdin, attest.MaxReport+1))
	} else {
		report, err = os.ReadFile(f.report)
	}
	if err != nil {
		return nil, &hinted{fmt.Errorf("cannot read the report: %w", err), "the gate writes " + telemetry.ReportPath + "; name another one with --report"}
	}
	return attestReport(nonce, report)
}

// attestServiceCommand answers the agent, which has no access to the TPM.
func attestServiceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "attest-service",
		Short:  "Answer the agent with attestations (hostcheck-attest.service)",
		Long:   "attest-service answers on the socket that systemd hands over, and ends when nobody has asked for a while.",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const idle = 30 * time.Second
			listeners, err := activation.Listeners()
			if err != nil || len(listeners) != 1 {
				return &exit{exitUsage, errors.New("no socket from systemd: this is what hostcheck-attest.socket starts")}
			}
			listener, ok := listeners[0].(*net.UnixListener)
			if !ok {
				return &exit{exitUsage, errors.New("the socket from systemd is none of the file system")}
			}
			if err := attest.Serve(cmd.Context(), listener, idle, attestReport); err != nil {
				return &exit{exitFail, err}
			}
			return nil
		},
	}
}

// attestReport is the document over a report, with the machine's event log if it has one.
func attestReport(nonce attest.Hex, report []byte) ([]byte, error) {
	if len(report) > attest.MaxReport {
		return nil, fmt.Errorf("the report has more than %d bytes", attest.MaxReport)
	}
	tpm, err := openTPM()
	if err != nil {
		return nil, err
	}
	defer tpm.Close()
	document, err := attest.Quote(tpm, nonce, report)
	if err != nil {
		return nil, err
	}
	if document.EventLog, err = os.ReadFile(eventLog); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the firmware's event log: %w", err)
	}
	return document.Marshal()
}

func openTPM() (io.ReadWriteCloser, error) {
	tpm, err := os.OpenFile(tpmDevice, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hinted{fmt.Errorf("no TPM: %w", err), "the machine needs a TPM 2.0 that firmware has switched on"}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the TPM: %w", err)
	}
	return tpm, nil
}
