package telemetry

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Access says who may read /metrics, /metrics/server and /report; /livez and /healthz answer everybody, since health
// checkers have no credentials. It means what basic_auth_users and client_ca_file mean in the web configuration of
// Prometheus' exporters, whose library is not used: it executes templates, cannot leave paths out, and with it every
// hostcheck verb needs 2.8 MiB more. The zero value leaves the decision to the firewall.
type Access struct {
	users     map[string][]byte // bcrypt hashes
	clientCAs *x509.CertPool

	mu      sync.Mutex
	known   map[string][sha256.Size]byte // user → the password that was right, hashed
	asking  chan struct{}                // as many as may wait for an answer
	hashing chan struct{}                // one password is hashed at a time
}

const (
	// maxBcryptCost is a second of a processor for one password. An operator's mistake must not become an outage.
	maxBcryptCost = 14
	// maxAsking is how many requests may wait until their passwords have been hashed.
	maxAsking = 8
	// nobody is compared with when there is no such user, so that the time that it takes tells nothing. It has the cost that
	// htpasswd and the documentation suggest.
	nobody = "$2a$10$0tZqMNIP9JH0u7p042tPJeUcMCYX2l8dKPs/zyn/s98iSbfs4cU0e"
)

// NewAccess takes the users with their bcrypt hashes, and the authorities of the clients' certificates, PEM. What is
// empty is not asked for; with both a client needs both. Every mistake is told, and no hash is repeated.
func NewAccess(users map[string]string, clientCAs string) (*Access, error) {
	a := &Access{users: map[string][]byte{}, known: map[string][sha256.Size]byte{}, asking: make(chan struct{}, maxAsking), hashing: make(chan struct{}, 1)}
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(users)) {
		cost, err := bcrypt.Cost([]byte(users[name]))
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("basic_auth: the value of %q is not a bcrypt hash", name))
		case cost > maxBcryptCost:
			mistakes = append(mistakes, fmt.Errorf("basic_auth: the hash of %q has the cost %d: at most %d", name, cost, maxBcryptCost))
		}
		a.users[name] = []byte(users[name])
	}
	if clientCAs != "" {
		a.clientCAs = x509.NewCertPool()
		if !a.clientCAs.AppendCertsFromPEM([]byte(clientCAs)) {
			mistakes = append(mistakes, errors.New("client_ca: there is no certificate in it"))
		}
	}
	return a, errors.Join(mistakes...)
}

// TLS adds to a configuration that clients may show a certificate. Only /livez and /healthz are there for those without.
func (a *Access) TLS(config *tls.Config) *tls.Config {
	if a == nil || a.clientCAs == nil || config == nil {
		return config
	}
	config = config.Clone()
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, a.clientCAs
	return config
}

// guard lets through whom Access admits.
func (a *Access) guard(next http.Handler) http.Handler {
	if a == nil || len(a.users) == 0 && a.clientCAs == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.clientCAs != nil && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			http.Error(w, "a client certificate is needed here", http.StatusForbidden)
			return
		}
		if len(a.users) > 0 {
			user, password, _ := r.BasicAuth()
			switch ok, busy := a.admits(user, password); {
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
// ones are hashed one after the other, so that whoever guesses has a fraction of one processor.
func (a *Access) admits(user, password string) (ok, busy bool) {
	hash, exists := a.users[user]
	if !exists {
		hash = []byte(nobody)
	}
	if password == "" {
		return false, false
	}
	seen := sha256.Sum256([]byte(password))
	a.mu.Lock()
	was, remembered := a.known[user]
	a.mu.Unlock()
	if remembered && subtle.ConstantTimeCompare(was[:], seen[:]) == 1 {
		return true, false
	}
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	default:
		return false, true
	}
	a.hashing <- struct{}{}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	<-a.hashing
	if err != nil || !exists {
		return false, false
	}
	a.mu.Lock()
	a.known[user] = seen
	a.mu.Unlock()
	return true, false
}
