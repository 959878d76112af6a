package check_test

import (
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// Each fact of the handshake that a control states is broken once, and that control notices.
func TestBrokenTLSFailsItsControl(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	for name, c := range map[string]struct {
		fails  []string
		break_ func(*host.TLSListener)
	}{
		"TLS 1.0": {[]string{"tls-versions-new"}, func(l *host.TLSListener) { l.Versions[0].Accepted = true }},
		"TLS 1.1": {[]string{"tls-versions-new"}, func(l *host.TLSListener) { l.Versions[1].Accepted = true }},
		"no version that is new enough": {[]string{"tls-versions-new"}, func(l *host.TLSListener) {
			l.Versions[2].Accepted, l.Versions[3].Accepted = false, false
		}},
		"a weak suite":               {[]string{"tls-suites-strong"}, func(l *host.TLSListener) { l.WeakSuite = "TLS_RSA_WITH_AES_128_CBC_SHA" }},
		"a weak suite by preference": {[]string{"tls-suites-strong"}, func(l *host.TLSListener) { l.Versions[2].Suite = "TLS_RSA_WITH_AES_128_GCM_SHA256" }},
		"an answer in the clear":     {[]string{"tls-plaintext-refused"}, func(l *host.TLSListener) { l.Plaintext = 503 }},
		"an unknown authority":       {[]string{"tls-certificate-trusted"}, func(l *host.TLSListener) { l.Untrusted = "signed by unknown authority" }},
		"signed by itself":           {[]string{"tls-certificate-trusted"}, func(l *host.TLSListener) { l.Certificate.SelfSigned = true }},
		"another name":               {[]string{"tls-certificate-names"}, func(l *host.TLSListener) { l.Certificate.DNSNames = []string{"vault-2.example.net"} }},
		"no name at all":             {[]string{"tls-certificate-names"}, func(l *host.TLSListener) { l.Certificate.DNSNames, l.Certificate.Addresses = nil, nil }},
		"expired": {[]string{"tls-certificate-valid", "tls-certificate-renewed"}, func(l *host.TLSListener) {
			l.Checked = l.Certificate.NotAfter.Add(time.Second)
		}},
		"not yet valid":    {[]string{"tls-certificate-valid"}, func(l *host.TLSListener) { l.Checked = l.Certificate.NotBefore.Add(-time.Second) }},
		"ends in two days": {[]string{"tls-certificate-renewed"}, func(l *host.TLSListener) { l.Checked = l.Certificate.NotAfter.Add(-48 * time.Hour) }},
		"a short key": {[]string{"tls-key-strong"}, func(l *host.TLSListener) {
			l.Certificate.KeyType, l.Certificate.KeyBits, l.Certificate.Signature = "RSA", 1024, "SHA256-RSA"
		}},
		"a key of another type": {[]string{"tls-key-strong"}, func(l *host.TLSListener) { l.Certificate.KeyType, l.Certificate.KeyBits = "DSA", 4096 }},
		"SHA-1":                 {[]string{"tls-key-strong"}, func(l *host.TLSListener) { l.Certificate.Signature = "SHA1-RSA" }},
		"no HSTS":               {[]string{"tls-headers-strict"}, func(l *host.TLSListener) { l.Health.HSTS = "" }},
		"HSTS for a minute":     {[]string{"tls-headers-strict"}, func(l *host.TLSListener) { l.Health.HSTS = "includeSubDomains; max-age=60" }},
		"no certificate": {[]string{"tls-certificate-trusted", "tls-certificate-names", "tls-certificate-valid", "tls-certificate-renewed", "tls-key-strong"},
			func(l *host.TLSListener) { l.Certificate = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			l := checktest.TLSListener()
			c.break_(&l)
			onlyFails(t, b, checktest.Node(t, b).SetTLSListener("127.0.0.1:8200", l), control.StageRun, c.fails...)
		})
	}
	l := checktest.TLSListener()
	l.Health = host.Health{Error: "the server asks for a client's certificate"}
	if got := outcome(run(t, b, checktest.Node(t, b).SetTLSListener("127.0.0.1:8200", l), control.StageRun), "tls-headers-strict"); got != control.Unknown {
		t.Errorf("no answer for its health: tls-headers-strict is %s", got)
	}
}

// The listener is judged where the configuration says that it is, and the version is hidden where it says so.
func TestTLSGoesByTheConfiguration(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	h := checktest.Node(t, b)
	vaultConfig(h, replace(t, checktest.VaultConfig, `address = "[::]:8200"`, "address = \"10.1.2.3:8300\"\n  redact_version = true"))
	h.SetTLSListener("10.1.2.3:8300", checktest.TLSListener())
	onlyFails(t, b, h, control.StageRun, "tls-headers-strict")
	hidden := checktest.TLSListener()
	hidden.Health.Version = ""
	onlyFails(t, b, h.SetTLSListener("10.1.2.3:8300", hidden), control.StageRun)

	newest := checktest.Profile()
	newest.Parameters = map[string]string{"tls_min_version": "tls13"}
	b = checktest.Compile(t, newest)
	h = checktest.Node(t, b)
	vaultConfig(h, replace(t, checktest.VaultConfig, "tls12", "tls13"))
	onlyFails(t, b, h, control.StageRun, "tls-versions-new") // it still takes 1.2
	l := checktest.TLSListener()
	l.Versions[2] = host.TLSVersion{Version: "1.2", Reason: "refused"}
	onlyFails(t, b, h.SetTLSListener("127.0.0.1:8200", l), control.StageRun)
}
