package telemetry

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// Access says who may read /metrics, /metrics/server and /report; /livez and /healthz answer everybody, since health
// checkers have no credentials. It means what basic_auth_users and client_ca_file mean in the web configuration of
// Prometheus' exporters, whose library is not used: it executes templates, cannot leave paths out, and with it every
// hostcheck verb needs 2.8 MiB more. The zero value leaves the decision to the firewall.
type Access struct {
	rules   atomic.Pointer[rules]
	hashing sync.Mutex // one password is hashed at a time
	waiting atomic.Int32
}

// rules are what node.hcl asks for.
type rules struct {
	users     map[string][]byte // bcrypt hashes
	clientCAs *x509.CertPool
	known     sync.Map // user → SHA-256 of the password that was right
}

const (
	// maxBcryptCost is a second of a processor for one password. An operator's mistake must not become an outage.
	maxBcryptCost = 14
	// maxWaiting is how many requests may wait until their passwords have been hashed.
	maxWaiting = 8
	// nobody is compared with when there is no such user, so that the time that it takes tells nothing. It has the cost that
	// htpasswd and the documentation suggest.
	nobody = "$2a$10$0tZqMNIP9JH0u7p042tPJeUcMCYX2l8dKPs/zyn/s98iSbfs4cU0e"
)

// Set takes the users with their bcrypt hashes, and the authorities of the clients' certificates, PEM. What is empty is
// not asked for; with both a client needs both. Every mistake is told, no hash is repeated, and a user whose hash cannot
// be used is not let in, nor is anybody by authorities that cannot be read.
func (a *Access) Set(users map[string]string, clientCAs string) error {
	r := &rules{users: map[string][]byte{}}
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(users)) {
		r.users[name] = nil
		cost, err := bcrypt.Cost([]byte(users[name]))
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("basic_auth: the value of %q is not a bcrypt hash", name))
		case cost > maxBcryptCost:
			mistakes = append(mistakes, fmt.Errorf("basic_auth: the hash of %q has the cost %d: at most %d", name, cost, maxBcryptCost))
		default:
			r.users[name] = []byte(users[name])
		}
	}
	if clientCAs != "" {
		r.clientCAs = x509.NewCertPool()
		if !r.clientCAs.AppendCertsFromPEM([]byte(clientCAs)) {
			mistakes = append(mistakes, errors.New("client_ca: there is no certificate in it"))
		}
	}
	a.rules.Store(r)
	return errors.Join(mistakes...)
}

// TLS makes a configuration ask for client certificates as long as there are authorities for them. Who shows none may
// still read /livez and /healthz.
func (a *Access) TLS(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	config = config.Clone()
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		r := a.rules.Load()
		if r == nil || r.clientCAs == nil {
			return nil, nil // as it is
		}
		asking := base.Clone()
		asking.ClientAuth, asking.ClientCAs = tls.VerifyClientCertIfGiven, r.clientCAs
		return asking, nil
	}
	return config
}

// guard lets through whom Access admits. A nil Access admits everybody.
func (a *Access) guard(next http.Handler) http.Handler {
	if a == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rules := a.rules.Load()
		if rules == nil {
			next.ServeHTTP(w, r)
			return
		}
		if rules.clientCAs != nil && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			http.Error(w, "a client certificate is needed here", http.StatusForbidden)
			return
		}
		if len(rules.users) > 0 {
			user, password, _ := r.BasicAuth()
			switch ok, busy := a.admits(rules, user, password); {
			case busy:
				w.Header().Set("Retry-After", "1")
				http.Error(w, "too many passwords at once", http.StatusServiceUnavailable)
				return
			case !ok:
				w.Header().Set("WWW-Authenticate", `Basic realm="strongroom", charset="UTF-8"`)
				http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// admits compares a password. One that was right is remembered, so that a scrape does not cost a bcrypt each time; wrong
// ones are hashed one after the other, so that whoever guesses has at most one processor.
func (a *Access) admits(rules *rules, user, password string) (ok, busy bool) {
	if password == "" {
		return false, false
	}
	seen := sha256.Sum256([]byte(password))
	if was, remembered := rules.known.Load(user); remembered && was == seen {
		return true, false
	}
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxWaiting {
		return false, true
	}
	hash, exists := rules.users[user]
	if !exists {
		hash = []byte(nobody)
	}
	a.hashing.Lock()
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	a.hashing.Unlock()
	if err != nil || !exists {
		return false, false
	}
	rules.known.Store(user, seen)
	return true, false
}
