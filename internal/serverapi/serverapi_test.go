package serverapi

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestClientBelievesItsAuthoritiesOnly(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	for _, c := range []struct {
		name        string
		authorities *x509.CertPool
		serverName  string
		believed    bool
	}{
		{"its authority", known, "", true},
		{"a name of the certificate", known, "example.com", true},
		{"another name", known, "vault.example.net", false},
		{"no authority", nil, "", false},
		{"another authority", x509.NewCertPool(), "", false},
	} {
		answer, err := NewClient(TLS(c.authorities, c.serverName), time.Minute, 1).Get(server.URL)
		if err == nil {
			answer.Body.Close()
		}
		if (err == nil) != c.believed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestClientFollowsNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("went where the redirect led") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	answer, err := NewClient(TLS(nil, ""), time.Minute, 1).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("answered %s, not with the redirect itself", answer.Status)
	}
}
