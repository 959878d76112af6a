package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// TLSListener states what every TLS listener of the server's configuration shows to whoever connects,
// seen by real handshakes over loopback. Several resources may judge one listener, each another side of it;
// the listener is asked once.
type TLSListener struct {
	Config      string `yaml:"config" json:"config"`           // the server's configuration: where it listens, and under which names
	Authorities string `yaml:"authorities" json:"authorities"` // what the cluster believes, PEM
	Name        string `yaml:"name" json:"name"`               // of this side; unique for the configuration

	// MinVersion ("tls12", "tls13"): it is accepted or a newer one is, and every older one is refused.
	MinVersion string `yaml:"min_version" json:"min_version,omitempty"`
	// StrongSuites: nothing without forward secrecy is agreed to, and nothing else that Go calls insecure.
	StrongSuites bool `yaml:"strong_suites" json:"strong_suites,omitempty"`
	// PlaintextRefused: a request without TLS is not answered.
	PlaintextRefused bool `yaml:"plaintext_refused" json:"plaintext_refused,omitempty"`
	// Trusted: the certificate was issued by one of the authorities.
	Trusted bool `yaml:"trusted" json:"trusted,omitempty"`
	// Names are settings with URLs ("api_addr") whose hosts the certificate is good for.
	Names []string `yaml:"names" json:"names,omitempty"`
	// Valid: the certificate has begun and has not expired, by the node's clock.
	Valid bool `yaml:"valid" json:"valid,omitempty"`
	// DaysLeft is how many days before its end the certificate must have been renewed.
	DaysLeft int `yaml:"days_left" json:"days_left,omitempty"`
	// MinKeyBits maps each type of key that is allowed ("RSA", "ECDSA", "Ed25519") to its least size.
	MinKeyBits map[string]int `yaml:"min_key_bits" json:"min_key_bits,omitempty"`
	// HSTSSeconds is the least max-age of Strict-Transport-Security.
	HSTSSeconds int `yaml:"hsts_seconds" json:"hsts_seconds,omitempty"`
	// Redacted: when the configuration says redact_version, the version is not told.
	Redacted bool `yaml:"redacted" json:"redacted,omitempty"`
}

// tlsVersions maps the words of Vault's configuration to versions, oldest first.
var tlsVersions = []struct{ word, version string }{{"tls10", "1.0"}, {"tls11", "1.1"}, {"tls12", "1.2"}, {"tls13", "1.3"}}

// Key implements control.Resource.
func (t *TLSListener) Key() control.Key {
	return control.Key{Kind: "tls_listener", Name: t.Config + "#" + t.Name}
}

// Validate implements control.Resource.
func (t *TLSListener) Validate() error {
	var r require
	for _, p := range []string{t.Config, t.Authorities} {
		r.that(absolute(p), "path %q is not absolute and clean", p)
	}
	r.that(slugName.MatchString(t.Name), "name %q is not a slug", t.Name)
	r.that(t.MinVersion == "" || t.MinVersion == "tls12" || t.MinVersion == "tls13", "min_version %q is neither tls12 nor tls13", t.MinVersion)
	for _, name := range t.Names {
		r.that(settingName.MatchString(name), "name %q is not a setting (like api_addr)", name)
	}
	r.that(t.DaysLeft >= 0 && t.DaysLeft <= 3650, "days_left %d is not 0 to 3650", t.DaysLeft)
	r.that(t.HSTSSeconds >= 0, "hsts_seconds is negative")
	for kind, bits := range t.MinKeyBits {
		r.that(slices.Contains([]string{"RSA", "ECDSA", "Ed25519"}, kind), "key type %q is not one of RSA, ECDSA, Ed25519", kind)
		r.that(bits > 0, "%s keys have no least size", kind)
	}
	r.that(!t.Redacted || t.HSTSSeconds > 0, "redacted alone states nothing where redact_version is not set: state hsts_seconds beside it")
	r.that(t.MinVersion != "" || t.StrongSuites || t.PlaintextRefused || t.Trusted || len(t.Names) > 0 || t.Valid || t.DaysLeft > 0 ||
		len(t.MinKeyBits) > 0 || t.HSTSSeconds > 0, "nothing is stated")
	return r.err()
}

// Render has nothing to add: the certificate comes at boot, the rest is the server's configuration.
func (t *TLSListener) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify implements control.Resource.
func (t *TLSListener) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if stage < control.StageRun {
		return nil
	}
	o := effective(t.Key())
	content, err := h.ReadFile(t.Config)
	if err != nil {
		o.missing(t.Config, "a configuration", err)
		return o.out
	}
	parsed := host.Derive(h, "vault_config "+t.Config, func(host.Host) parsedSettings {
		found, err := vaultSettings(content, t.Config)
		return parsedSettings{found, err}
	})
	config, err := parsed.settings, parsed.err
	if err != nil {
		o.unknown(t.Config, "valid HCL", err)
		return o.out
	}
	addresses := listenAddresses(config)
	if len(addresses) == 0 {
		o.judge(t.Config, "a listener", "none", false)
		return o.out
	}
	for _, address := range addresses {
		seen, err := h.TLSListener(ctx, address, t.Authorities)
		if err != nil {
			o.unknown("TLS handshake with "+address, "an answer", err)
			continue
		}
		t.judge(o, config, "TLS handshake with "+address, seen)
	}
	return o.out
}

// listenAddresses are where the TCP listeners of a configuration can be reached on the node itself.
func listenAddresses(config settings) []string {
	listeners := config.values("listener.tcp.address")
	if config.blocks["listener.tcp"] > len(listeners) {
		listeners = append(slices.Clone(listeners), "127.0.0.1:8200") // the server's default
	}
	var out []string
	for _, l := range listeners {
		at := strings.LastIndexByte(l, ':')
		if at > 0 && strings.Contains(l[:at], ":") && !strings.HasPrefix(l, "[") {
			l = "[" + l + "]" // IPv6 without a port
		}
		if at < 0 || strings.HasSuffix(l, "]") {
			l, at = l+":8200", len(l)
		}
		switch strings.Trim(l[:at], "[]") {
		case "", "0.0.0.0", "::": // every address, loopback among them
			l = "127.0.0.1" + l[at:]
		}
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

func (t *TLSListener) judge(o *observe, config settings, source string, seen host.TLSListener) {
	if t.MinVersion != "" {
		t.judgeVersions(o, source, seen)
	}
	if t.StrongSuites {
		const want = "a suite with forward secrecy"
		o.judge(source+", weak suites offered", "refused", cmp.Or(seen.WeakSuite, "refused"), seen.WeakSuite == "")
		for _, v := range seen.Versions {
			if v.Version == "1.2" && v.Accepted {
				o.judge(source+", TLS 1.2", want, v.Suite, strings.HasPrefix(v.Suite, "TLS_ECDHE_"))
			}
		}
	}
	if t.PlaintextRefused {
		got := "refused"
		if seen.Plaintext != 0 {
			got = "HTTP status " + strconv.Itoa(seen.Plaintext)
		}
		o.equal(source+", a request without TLS", "refused", got)
	}
	t.judgeCertificate(o, config, source+", certificate", seen)
	if t.HSTSSeconds > 0 || t.Redacted {
		t.judgeHealth(o, config, source+", /v1/sys/health", seen.Health)
	}
}

func (t *TLSListener) judgeVersions(o *observe, source string, seen host.TLSListener) {
	answers := map[string]host.TLSVersion{}
	for _, v := range seen.Versions {
		answers[v.Version] = v
	}
	newEnough, accepted := false, "none"
	for _, v := range tlsVersions {
		newEnough = newEnough || v.word == t.MinVersion
		answer, asked := answers[v.version]
		switch {
		case !asked:
			o.unknown(source+", TLS "+v.version, "an answer", errors.New("it was not asked for"))
		case newEnough && answer.Accepted:
			accepted = join(accepted, "none", "TLS "+v.version+" with "+answer.Suite)
		case !newEnough:
			got := "refused"
			if answer.Accepted {
				got = "accepted with " + answer.Suite
			}
			o.equal(source+", TLS "+v.version, "refused", got)
		}
	}
	o.judge(source, "a version of "+t.MinVersion+" or newer", accepted, accepted != "none")
}

func (t *TLSListener) judgeCertificate(o *observe, config settings, source string, seen host.TLSListener) {
	if !t.Trusted && len(t.Names) == 0 && !t.Valid && t.DaysLeft == 0 && len(t.MinKeyBits) == 0 {
		return
	}
	c := seen.Certificate
	if c == nil {
		o.judge(source, "a certificate", "no handshake came so far", false)
		return
	}
	if t.Trusted {
		got := "issued by " + c.Issuer
		if c.SelfSigned {
			got = "signed by itself"
		} else if seen.Untrusted != "" {
			got = seen.Untrusted
		}
		o.judge(source+" issuer", "leads to "+t.Authorities, got, seen.Untrusted == "" && !c.SelfSigned)
	}
	for _, setting := range t.Names {
		t.judgeName(o, config, source, setting, *c)
	}
	if t.Valid {
		got := "valid until " + c.NotAfter.Format("2006-01-02T15:04:05Z")
		ok := true
		switch {
		case seen.Checked.Before(c.NotBefore):
			got, ok = "not valid before "+c.NotBefore.Format("2006-01-02T15:04:05Z"), false
		case seen.Checked.After(c.NotAfter):
			got, ok = "expired at "+c.NotAfter.Format("2006-01-02T15:04:05Z"), false
		}
		o.judge(source+" validity", "valid at "+seen.Checked.Format("2006-01-02T15:04:05Z"), got, ok)
	}
	if t.DaysLeft > 0 {
		left := int(c.NotAfter.Sub(seen.Checked).Hours() / 24)
		o.judge(source+" end", fmt.Sprintf("at least %d days left", t.DaysLeft), fmt.Sprintf("%d days left", left), left >= t.DaysLeft)
	}
	if len(t.MinKeyBits) > 0 {
		least, known := t.MinKeyBits[c.KeyType]
		want := ""
		for _, kind := range slices.Sorted(maps.Keys(t.MinKeyBits)) {
			want = join(want, "", fmt.Sprintf("%s of %d bits", kind, t.MinKeyBits[kind]))
		}
		o.judge(source+" key", want+", or more", fmt.Sprintf("%s of %d bits", c.KeyType, c.KeyBits), known && c.KeyBits >= least)
		old := strings.Contains(c.Signature, "SHA1") || strings.Contains(c.Signature, "MD5") || strings.Contains(c.Signature, "MD2")
		o.judge(source+" signature", "SHA-256 or newer", c.Signature, c.Signature != "" && !old)
	}
}

var urlHost = regexp.MustCompile(`^https?://(\[[0-9A-Fa-f:.%]+\]|[^/:\[\]]+)(:[0-9]+)?(/.*)?$`)

func (t *TLSListener) judgeName(o *observe, config settings, source, setting string, c host.Certificate) {
	values := config.values(setting)
	if len(values) == 0 {
		o.judge(source+" names", "good for the host of "+setting, setting+" is not set", false)
	}
	for _, value := range values {
		m := urlHost.FindStringSubmatch(value)
		if m == nil {
			o.judge(source+" names", "good for the host of "+setting, fmt.Sprintf("%s is %q, which is no URL", setting, value), false)
			continue
		}
		name := strings.Trim(m[1], "[]")
		got := "good for " + name
		err := c.Covers(name)
		if err != nil {
			got = err.Error()
		}
		o.judge(source+" names", "good for "+name+" ("+setting+")", got, err == nil)
	}
}

var maxAge = regexp.MustCompile(`(?i)(?:^|;)\s*max-age\s*=\s*"?([0-9]{1,12})"?\s*(?:;|$)`)

func (t *TLSListener) judgeHealth(o *observe, config settings, source string, health host.Health) {
	if health.Status == 0 {
		o.unknown(source, "an answer", errors.New(cmp.Or(health.Error, "there was none")))
		return
	}
	if t.HSTSSeconds > 0 {
		seconds := 0
		if m := maxAge.FindStringSubmatch(health.HSTS); m != nil {
			seconds, _ = strconv.Atoi(m[1])
		}
		o.judge(source+" Strict-Transport-Security", fmt.Sprintf("max-age of %d or more", t.HSTSSeconds), cmp.Or(health.HSTS, "no such header"), seconds >= t.HSTSSeconds)
	}
	if t.Redacted && slices.Contains(config.values("listener.tcp.redact_version"), "true") {
		o.equal(source+" version", "not told", cmp.Or(health.Version, "not told"))
	}
}
