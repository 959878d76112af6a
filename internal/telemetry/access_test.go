package telemetry_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func hashed(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func access(t *testing.T, users map[string]string, cas string) *telemetry.Access {
	t.Helper()
	a := &telemetry.Access{}
	if err := a.Set(users, cas); err != nil {
		t.Fatal(err)
	}
	return a
}

var (
	guarded = []string{"/metrics", "/metrics/server", "/report"}
	open    = []string{"/livez", "/healthz"}
)

func TestBasicAuth(t *testing.T) {
	users := map[string]string{"prometheus": hashed(t, "right", bcrypt.MinCost), "other": hashed(t, "another", bcrypt.MinCost)}
	h := verifiedNode().Handler(says(anActive), access(t, users, ""), quiet)
	ask := func(path, user, password string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for range 2 { // the second time from memory
		for _, path := range guarded {
			for _, c := range [][2]string{{"", ""}, {"prometheus", "wrong"}, {"prometheus", ""}, {"prometheus", "another"}, {"stranger", "right"},
				{"stranger", "nobody has this password, it is the hash of a sentence"}} {
				w := ask(path, c[0], c[1])
				if w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("%s as %q: %d %v", path, c, w.Code, w.Header())
				}
				if strings.Contains(w.Body.String(), "hostcheck") {
					t.Errorf("%s as %q tells something: %q", path, c, w.Body)
				}
			}
			for user, password := range map[string]string{"prometheus": "right", "other": "another"} {
				if w := ask(path, user, password); w.Code == http.StatusUnauthorized {
					t.Errorf("%s: %s is not let in", path, user)
				}
			}
		}
		for _, path := range open {
			if w := ask(path, "", ""); w.Code != http.StatusOK {
				t.Errorf("%s wants credentials: %d", path, w.Code)
			}
		}
	}
}

// Whoever guesses is slowed down and does not fill memory; whoever knows is let in meanwhile.
func TestGuessing(t *testing.T) {
	h := verifiedNode().Handler(says(anActive), access(t, map[string]string{"prometheus": hashed(t, "right", bcrypt.MinCost+4)}, ""), quiet)
	ask := func(password string) int {
		r := httptest.NewRequest(http.MethodGet, "/report", nil)
		r.SetBasicAuth("prometheus", password)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask("right"); code != http.StatusOK {
		t.Fatal(code)
	}
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if code := ask("wrong"); code != http.StatusUnauthorized && code != http.StatusServiceUnavailable {
				t.Errorf("a guess gives %d", code)
			}
			if code := ask("right"); code != http.StatusOK {
				t.Errorf("who knows the password gets %d", code)
			}
		})
	}
	wait.Wait()
}

func TestAccessMistakes(t *testing.T) {
	a := &telemetry.Access{}
	err := a.Set(map[string]string{"a": "secret", "b": hashed(t, "x", bcrypt.MinCost), "c": "$2a$20$" + strings.Repeat("a", 53)}, "no certificate")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`the value of "a" is not a bcrypt hash`, `the hash of "c" has the cost 20`, "client_ca: there is no certificate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%q repeats a value that may be a password", err)
	}
	// A mistake does not open the door.
	if w := get(verifiedNode().Handler(says(anActive), a, quiet), "GET", "/report"); w.Code != http.StatusForbidden {
		t.Errorf("mistakes let everybody in: %d", w.Code)
	}
}

func TestClientCertificates(t *testing.T) {
	ours, others := nodetest.NewCA(t, nodetest.Today()), nodetest.NewCA(t, nodetest.Today())
	client := func(ca *nodetest.CA) []tls.Certificate {
		if ca == nil {
			return nil
		}
		creds := ca.Credentials("", "prometheus.example.net")
		cert, err := tls.X509KeyPair(creds.Cert, creds.Key.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{cert}
	}
	a := access(t, map[string]string{"prometheus": hashed(t, "right", bcrypt.MinCost)}, string(ours.PEM))
	creds := ours.Credentials("", "127.0.0.1")
	cert, err := tls.X509KeyPair(creds.Cert, creds.Key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config = telemetry.NewServer(verifiedNode().Handler(says(anActive), a, quiet), quiet)
	server.Listener = telemetry.Limit(server.Listener, a.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	server.Start()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ours.PEM)
	ask := func(path string, ca *nodetest.CA, password string) (int, error) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: client(ca)}, DisableKeepAlives: true}}
		r, err := http.NewRequest(http.MethodGet, strings.Replace(server.URL, "http:", "https:", 1)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("prometheus", password)
		}
		answer, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	for _, c := range []struct {
		path, password string
		ca             *nodetest.CA
		want           int // 0: the handshake fails
	}{
		{"/report", "right", ours, 200},
		{"/report", "", ours, 401},
		{"/report", "right", nil, 403},
		{"/metrics", "right", nil, 403},
		{"/report", "right", others, 0},
		{"/healthz", "", nil, 200},
		{"/livez", "", nil, 200},
	} {
		if code, err := ask(c.path, c.ca, c.password); code != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%+v: %d, %v", c, code, err)
		}
	}
	// The rules may come after the port was opened, and change.
	if err := a.Set(nil, ""); err != nil {
		t.Fatal(err)
	}
	if code, err := ask("/report", others, ""); code != 200 || err != nil {
		t.Errorf("without rules: %d, %v", code, err)
	}
	if err := a.Set(nil, string(ours.PEM)); err != nil {
		t.Fatal(err)
	}
	// Without TLS nobody can show a certificate, and the answer is no.
	if w := get(verifiedNode().Handler(says(anActive), a, quiet), "GET", "/report"); w.Code != http.StatusForbidden {
		t.Errorf("over plain HTTP: %d", w.Code)
	}
	if a.TLS(nil) != nil {
		t.Error("a port without a certificate has got one")
	}
}
