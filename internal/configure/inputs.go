package configure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// inputs are what the references of node.hcl gave.
type inputs struct {
	material  node.Material
	seal      map[string]node.Secret // by the option of the seal stanza
	leaders   []node.Leader
	clientCA  []byte
	logsCA    []byte
	otlpCA    []byte
	basicAuth map[string]string
}

// readTimeout is for all references: units of a boot have a minute and a half, of which the search for node.hcl may take a third.
const readTimeout = 40 * time.Second

// read reads every reference, and reports all that cannot be read together.
func (o Options) read(ctx context.Context, config *node.Config) (inputs, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var in inputs
	reader := o.reader()
	material, err := reader.Material(ctx, config.TLS)
	errs := []error{err}
	in.material = material
	reader = reader.Believing(material.CA)
	if pair, err := tls.X509KeyPair(material.Cert, material.Key.Reveal()); err == nil {
		reader.Certificate = []tls.Certificate{pair}
	}

	in.seal = map[string]node.Secret{}
	for _, f := range config.Seal.Files {
		if in.seal[f.Option], err = reader.SealFile(ctx, f); err != nil {
			errs = append(errs, err)
		}
	}
	for _, l := range config.Join.Leaders {
		leader := node.Leader{Address: l.Address, ServerName: l.ServerName}
		if l.CA != "" {
			ca, err := reader.Certificates(ctx, l.CA)
			if err != nil {
				errs = append(errs, fmt.Errorf("leader %s: %w", l.Address, err))
			}
			leader.CA = string(ca)
		}
		in.leaders = append(in.leaders, leader)
	}
	if config.Telemetry.ClientCA != "" {
		if in.clientCA, err = reader.Certificates(ctx, config.Telemetry.ClientCA); err != nil {
			errs = append(errs, fmt.Errorf("telemetry: client_ca: %w", err))
		}
	}
	if logs := config.Logs; logs != nil {
		in.logsCA = material.CA
		if logs.CA != "" {
			if in.logsCA, err = reader.Certificates(ctx, logs.CA); err != nil {
				errs = append(errs, fmt.Errorf("logs: ca: %w", err))
			}
		}
	}
	if config.Telemetry.OTLPCA != "" {
		if in.otlpCA, err = reader.Certificates(ctx, config.Telemetry.OTLPCA); err != nil {
			errs = append(errs, fmt.Errorf("telemetry: otlp_ca: %w", err))
		}
	}
	in.basicAuth = map[string]string{}
	for _, user := range slices.Sorted(maps.Keys(config.Telemetry.BasicAuth)) {
		if in.basicAuth[user], err = reader.Bcrypt(ctx, config.Telemetry.BasicAuth[user]); err != nil {
			errs = append(errs, fmt.Errorf("telemetry: basic_auth: %s: %w", user, err))
		}
	}
	return in, errors.Join(errs...)
}

func (o Options) reader() node.Reader {
	return node.Reader{Credentials: o.Credentials, Root: o.Root, Authorities: o.Authorities}
}
