package host

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// TLSListener is what a server of this machine shows to whoever connects, seen by real handshakes.
type TLSListener struct {
	Checked time.Time `json:"checked"` // the host's clock when it was looked at, UTC
	// Versions has one entry for each version that was offered alone, oldest first.
	Versions []TLSVersion `json:"versions"`
	// WeakSuite is a suite of TLS 1.2 without forward secrecy, or another that Go calls insecure, which
	// the server agreed to when nothing else was offered; empty when it refused.
	WeakSuite   string       `json:"weak_suite,omitempty"`
	Certificate *Certificate `json:"certificate"` // nil: no handshake came so far
	// Untrusted is why the certificate does not lead to the authorities; empty when it does. Judged inside the
	// certificate's own validity, which is a fact of its own.
	Untrusted string `json:"untrusted,omitempty"`
	// Plaintext is the status of the answer to a request without TLS; 0: the server refused to talk, as it
	// should. Go's servers refuse with a sentence and status 400, which counts as a refusal.
	Plaintext int    `json:"plaintext"`
	Health    Health `json:"health"`
}

// TLSVersion is the answer to a handshake that offered one version only.
type TLSVersion struct {
	Version  string `json:"version"` // "1.0" to "1.3"
	Accepted bool   `json:"accepted"`
	Suite    string `json:"suite,omitempty"`  // that was agreed on
	Reason   string `json:"reason,omitempty"` // of the refusal
}

// Certificate is a leaf, as far as anybody judges it.
type Certificate struct {
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	DNSNames   []string  `json:"dns_names"`
	Addresses  []string  `json:"addresses"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	KeyType    string    `json:"key_type"` // "RSA", "ECDSA", "Ed25519"
	KeyBits    int       `json:"key_bits"`
	Signature  string    `json:"signature"` // "ECDSA-SHA256"
	SelfSigned bool      `json:"self_signed"`
}

// Covers says why the certificate is not good for a host name or an address; nil when it is.
func (c Certificate) Covers(name string) error {
	leaf := x509.Certificate{DNSNames: c.DNSNames}
	for _, a := range c.Addresses {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(a))
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return fmt.Errorf("good for %s only", strings.Join(slices.Concat(c.DNSNames, c.Addresses), ", "))
	}
	return nil
}

// Health is what the server answers to a question for its health, which needs no token.
type Health struct {
	Status  int    `json:"status"`          // of HTTP; 0: there was no answer
	Error   string `json:"error,omitempty"` // why there was none
	HSTS    string `json:"hsts"`            // Strict-Transport-Security
	Version string `json:"version"`         // of the server, unless it keeps it to itself
}

const (
	// tlsPatience is for one handshake with a server on the same machine.
	tlsPatience = 3 * time.Second
	// maxHealth is far more than a server says about its health.
	maxHealth = 64 << 10
)

// TLSListener implements Host.
func (l *LiveHost) TLSListener(ctx context.Context, address, authorities string) (TLSListener, error) {
	return keyed(l, l.tls, address+" "+authorities).get(func() (TLSListener, error) {
		pem, err := l.ReadFile(authorities)
		if err != nil {
			return TLSListener{}, fmt.Errorf("cannot read the authorities: %w", err)
		}
		return remember(l.memory, "TLSListener "+address, func() (TLSListener, error) { return lookAtTLS(ctx, address, pem) })
	})
}

// TLSListener answers ErrNotRunning.
func (*RootTree) TLSListener(context.Context, string, string) (TLSListener, error) {
	return TLSListener{}, ErrNotRunning
}

// TLSListener implements Host.
func (r *Recorder) TLSListener(ctx context.Context, address, authorities string) (TLSListener, error) {
	return recorded(r, "TLSListener", address+" "+authorities, func() (TLSListener, error) { return r.host.TLSListener(ctx, address, authorities) })
}

// TLSListener implements Host.
func (r *Recording) TLSListener(_ context.Context, address, authorities string) (TLSListener, error) {
	return replayed[TLSListener](r, "TLSListener", address+" "+authorities)
}

// lookAtTLS asks a server all that is to be known, one connection for each question. A server that
// cannot be reached or does not answer in time gives an error, one that refuses a fact.
func lookAtTLS(ctx context.Context, address string, authorities []byte) (TLSListener, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		return TLSListener{}, errors.New("the authorities hold no certificate in PEM")
	}
	seen := TLSListener{Checked: time.Now().UTC()}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		hand, err := shake(ctx, address, version, nil, nil)
		if err != nil {
			return TLSListener{}, err
		}
		v := TLSVersion{Version: strings.TrimPrefix(tls.VersionName(version), "TLS "), Accepted: hand.state != nil}
		if hand.state == nil {
			v.Reason = hand.refusal
		} else {
			v.Suite = tls.CipherSuiteName(hand.state.CipherSuite)
			seen.look(hand.state.PeerCertificates, roots)
		}
		seen.Versions = append(seen.Versions, v)
	}
	weak, err := shake(ctx, address, tls.VersionTLS12, weakSuites(), nil)
	if err != nil {
		return TLSListener{}, err
	}
	if weak.state != nil {
		seen.WeakSuite = tls.CipherSuiteName(weak.state.CipherSuite)
	}
	if seen.Plaintext, err = askInTheClear(ctx, address); err != nil {
		return TLSListener{}, err
	}
	seen.Health = askHealth(ctx, address)
	return seen, nil
}

// look keeps the leaf and judges its chain.
func (l *TLSListener) look(chain []*x509.Certificate, roots *x509.CertPool) {
	if len(chain) == 0 {
		return
	}
	leaf := chain[0]
	l.Certificate = describeCertificate(leaf)
	at := l.Checked
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	l.Untrusted = ""
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		l.Untrusted = err.Error()
	}
}

func describeCertificate(leaf *x509.Certificate) *Certificate {
	c := &Certificate{
		Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), DNSNames: leaf.DNSNames,
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Signature: leaf.SignatureAlgorithm.String(),
		SelfSigned: bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil,
	}
	for _, ip := range leaf.IPAddresses {
		c.Addresses = append(c.Addresses, ip.String())
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		c.KeyType, c.KeyBits = "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		c.KeyType, c.KeyBits = "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		c.KeyType, c.KeyBits = "Ed25519", 256
	default:
		c.KeyType = leaf.PublicKeyAlgorithm.String()
	}
	return c
}

// weakSuites are those of TLS 1.2 that no server should agree to any more: without forward secrecy, with
// RC4, with 3DES, or with CBC without countermeasures.
func weakSuites() []uint16 {
	var ids []uint16
	for _, s := range tls.InsecureCipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// handshake is the outcome of one: state is nil when the server refused.
type handshake struct {
	state   *tls.ConnectionState
	refusal string
}

// shake offers one version. use, when there is one, gets the connection of a handshake that succeeded.
//
// A server that asks for a client's certificate ends the handshake after it has agreed to a version and
// shown its own: what is asked here has been answered then.
func shake(ctx context.Context, address string, version uint16, suites []uint16, use func(net.Conn)) (handshake, error) {
	conn, err := dialSoon(ctx, address)
	if err != nil {
		return handshake{}, err
	}
	defer conn.Close()
	var seen *tls.ConnectionState
	client := tls.Client(conn, &tls.Config{
		MinVersion: version, MaxVersion: version, CipherSuites: suites,
		InsecureSkipVerify: true, // what is shown is looked at, whoever shows it; the chain is judged apart
		VerifyConnection:   func(s tls.ConnectionState) error { seen = &s; return nil },
	})
	err = client.HandshakeContext(ctx)
	switch {
	case err == nil:
		state := client.ConnectionState()
		if use != nil {
			use(client)
		}
		return handshake{state: &state}, nil
	case isTimeout(err) || ctx.Err() != nil:
		return handshake{}, fmt.Errorf("cannot finish a handshake with %s: %w", address, err)
	case seen != nil:
		return handshake{state: seen}, nil
	}
	return handshake{refusal: plainReason(err)}, nil
}

// plainReason leaves out the port that the client happened to have, so that the same refusal is the
// same words.
func plainReason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Op == "remote error" {
			return "remote error: " + op.Err.Error()
		}
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

func dialSoon(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: tlsPatience}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(tlsPatience)
	if until, ok := ctx.Deadline(); ok && until.Before(deadline) {
		deadline = until
	}
	return conn, conn.SetDeadline(deadline)
}

// askInTheClear sends a request without TLS and gives the status of the answer; 0 when the server
// refused to talk like that.
func askInTheClear(ctx context.Context, address string) (int, error) {
	conn, err := dialSoon(ctx, address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	answer, body, err := get(conn, address)
	switch {
	case isTimeout(err) || ctx.Err() != nil:
		return 0, fmt.Errorf("cannot tell whether %s answers without TLS: %w", address, err)
	case err != nil:
		return 0, nil // it hung up, or spoke something that is not HTTP
	case answer.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "HTTP request to an HTTPS server"):
		return 0, nil
	}
	return answer.StatusCode, nil
}

// askHealth asks over the newest version of TLS that the server speaks.
func askHealth(ctx context.Context, address string) Health {
	var h Health
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		hand, err := shake(ctx, address, version, nil, func(conn net.Conn) { h = readHealth(conn, address) })
		if err != nil {
			return Health{Error: err.Error()}
		}
		if hand.state != nil {
			if h.Status == 0 && h.Error == "" {
				h.Error = "the server asks for a client's certificate"
			}
			return h
		}
	}
	return Health{Error: "the server speaks neither TLS 1.3 nor TLS 1.2"}
}

func readHealth(conn net.Conn, address string) Health {
	answer, body, err := get(conn, address)
	if err != nil {
		return Health{Error: plainReason(err)}
	}
	var said struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal(body, &said) // an answer of another form shows no version
	return Health{Status: answer.StatusCode, HSTS: answer.Header.Get("Strict-Transport-Security"), Version: said.Version}
}

func get(conn net.Conn, address string) (*http.Response, []byte, error) {
	if _, err := fmt.Fprintf(conn, "GET /v1/sys/health HTTP/1.1\r\nHost: %s\r\nUser-Agent: hostcheck\r\nConnection: close\r\n\r\n", address); err != nil {
		return nil, nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHealth)), nil)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}
