package main

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/attest/appraise"
	"github.com/strongroom/strongroom/internal/measure"
)

type verifyAttestFlags struct {
	nonce, key, certificate, authorities, measurements, report string
	pcrs                                                       []string
	json                                                       bool
}

// errNotAttested is said in full on standard output.
var errNotAttested = errors.New("the node is not attested")

func newVerifyAttestCommand() *cobra.Command {
	var f verifyAttestFlags
	c := &cobra.Command{
		Use:   "verify-attest FILE",
		Short: "Judge what a node's TPM has vouched for",
		Long: `verify-attest reads an attestation, from "hostcheck attest" or from a node's telemetry port as /attest, and
compares it with what you know from elsewhere: the nonce that you have sent, the key of the node's TPM, and the values that
the image measures (measurements.json beside it). "-" is standard input.

Every check must pass: the key, its signature over the registers, the nonce, the digest of the report, the report's verdict and
root hash, and each register of which a value is expected. The exit status is 0 when all do, 1 when not, 64 on wrong use.

The key is pinned when the node is enrolled (--ak), or certified by an authority of yours (--ak-certificate, --ca).`,
		Example: `  NONCE=$(openssl rand -hex 32)
  curl --cacert ca.pem "https://node-1:9810/attest?nonce=$NONCE" > attestation.json
  imagebuild verify-attest attestation.json --nonce $NONCE --ak node-1.ak.pem --measurements out/image/measurements.json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one attestation, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			want, err := f.expectation()
			if err != nil {
				return &usageError{c.CommandPath(), err}
			}
			document, err := openAttestation(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			result, err := appraise.Judge(document, *want)
			if err != nil {
				return err
			}
			write := appraise.WriteText
			if f.json {
				write = writeAppraisal
			}
			if err := write(c.OutOrStdout(), result); err != nil {
				return err
			}
			if !result.Pass {
				return errNotAttested
			}
			return nil
		},
	}
	c.Flags().StringVar(&f.nonce, "nonce", "", "`HEX` that you have sent")
	c.Flags().StringVar(&f.key, "ak", "", "the pinned attestation key, PEM, in `FILE`")
	c.Flags().StringVar(&f.certificate, "ak-certificate", "", "the attestation key's certificate, PEM, in `FILE`; intermediate ones may follow")
	c.Flags().StringVar(&f.authorities, "ca", "", "authorities that issue such certificates, PEM, in `FILE`")
	c.Flags().StringVar(&f.measurements, "measurements", "", "what the image measures, from `FILE` (measurements.json)")
	c.Flags().StringArrayVar(&f.pcrs, "pcr", nil, "a value that a register must have, as `INDEX=HEX`, beside or instead of the image's; can be repeated")
	c.Flags().StringVar(&f.report, "report", "", "the report in `FILE` instead of the one that the attestation carries")
	c.Flags().BoolVar(&f.json, "json", false, "write JSON ("+appraise.Schema+")")
	return c
}

// expectation reads what the user knows. Every mistake is told at once.
func (f *verifyAttestFlags) expectation() (*appraise.Expectation, error) {
	want := &appraise.Expectation{PCRs: map[int]measure.Digest{}}
	var mistakes []error
	mistake := func(flag string, err error) {
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", flag, err))
		}
	}
	var err error
	want.Nonce, err = attest.ParseNonce(f.nonce)
	mistake("--nonce", err)
	want.Key, err = f.trusted()
	mistake("--ak", err)
	if f.measurements != "" {
		text, err := os.ReadFile(f.measurements)
		if err == nil {
			var statement measure.Statement
			statement, err = measure.Parse(text)
			want.Measurements = &statement
		}
		mistake("--measurements", err)
	}
	for _, pcr := range f.pcrs {
		mistake("--pcr", parsePCR(pcr, want.PCRs))
	}
	if f.measurements == "" && len(f.pcrs) == 0 {
		mistakes = append(mistakes, errors.New("--measurements: without it, and without --pcr, a quote over anything would pass"))
	}
	if f.report != "" {
		want.Report, err = os.ReadFile(f.report)
		mistake("--report", err)
	}
	return want, errors.Join(mistakes...)
}

func (f *verifyAttestFlags) trusted() (crypto.PublicKey, error) {
	switch {
	case f.key != "" && f.certificate == "" && f.authorities == "":
		text, err := os.ReadFile(f.key)
		if err != nil {
			return nil, err
		}
		return appraise.ParseKey(text)
	case f.key == "" && f.certificate != "" && f.authorities != "":
		chain, err := os.ReadFile(f.certificate)
		if err != nil {
			return nil, err
		}
		authorities, err := os.ReadFile(f.authorities)
		if err != nil {
			return nil, err
		}
		return appraise.KeyOfCertificate(chain, authorities, time.Now())
	}
	return nil, errors.New("name the key that is trusted with --ak, or with --ak-certificate and --ca")
}

// parsePCR reads "7=HEX".
func parsePCR(text string, into map[int]measure.Digest) error {
	number, value, ok := strings.Cut(text, "=")
	index, err := strconv.Atoi(number)
	if !ok || err != nil || index < 0 || index > 23 {
		return fmt.Errorf("%q is not INDEX=HEX", text)
	}
	if _, twice := into[index]; twice {
		return fmt.Errorf("register %d has two values", index)
	}
	var digest measure.Digest
	if err := digest.UnmarshalText([]byte(value)); err != nil {
		return err
	}
	into[index] = digest
	return nil
}

// openAttestation reads one from a file, or from in when the name is "-".
func openAttestation(in io.Reader, name string) (*attest.Document, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot open attestation: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, attest.MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	document, err := attest.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return document, nil
}

func writeAppraisal(w io.Writer, result *appraise.Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}
