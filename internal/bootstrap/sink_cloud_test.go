package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"google.golang.org/api/option"
	secretmanager "google.golang.org/api/secretmanager/v1"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// store is a stand-in for a cloud's secret store. That it speaks the wire is shown by the cloud's own library, which reads and writes there too.
type store struct {
	t       *testing.T
	mu      sync.Mutex
	secrets map[string][]string // name → versions
	denied  bool
}

// serve puts a handler where a host is, and gives a client that finds it there.
func serve(t *testing.T, host string, h http.Handler) *http.Client {
	ca := nodetest.NewCA(t, nodetest.Today())
	cert, key := ca.Issue(nodetest.Today(), host)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != host+":443" {
				return nil, fmt.Errorf("asked %s", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// behaves is what every sink does, whatever the store.
func (s *store) behaves(sink Sink, read func() (string, error), write func(string) error) {
	t := s.t
	t.Helper()
	ctx := t.Context()
	if c, err := sink.Read(ctx); err != nil || c.Content != nil || c.Version != "" {
		t.Fatalf("an empty store: %+v, %v", c, err)
	}
	if err := sink.Write(ctx, []byte("{\"first\": \"ä\"}\n"), Content{}); err != nil {
		t.Fatal(err)
	}
	c, err := sink.Read(ctx)
	if err != nil || string(c.Content) != "{\"first\": \"ä\"}\n" || c.Version == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	if got, err := read(); err != nil || got != string(c.Content) {
		t.Errorf("the cloud's own library reads %q, %v", got, err)
	}
	if err := sink.Write(ctx, []byte("second"), c); err != nil {
		t.Fatal(err)
	}
	if got, err := read(); err != nil || got != "second" {
		t.Errorf("the cloud's own library reads %q, %v", got, err)
	}
	if err := write("third"); err != nil {
		t.Fatal(err)
	}
	if c, err := sink.Read(ctx); err != nil || string(c.Content) != "third" {
		t.Errorf("what the cloud's own library wrote is read as %+v, %v", c, err)
	}
	s.denied = true
	for what, err := range map[string]error{"read": func() error { _, err := sink.Read(ctx); return err }(), "write": sink.Write(ctx, []byte("x"), Content{})} {
		if err == nil || !strings.Contains(err.Error(), "the identity of this instance must be able to do") {
			t.Errorf("%s, denied: %v", what, err)
		}
	}
}

func TestAWSSecretsManager(t *testing.T) {
	const region = "eu-central-1"
	keys := awssdk.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}
	s := &store{t: t, secrets: map[string][]string{}}
	client := serve(t, "secretsmanager."+region+".amazonaws.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		refuse := func(code, said string) {
			answer(w, http.StatusBadRequest, map[string]string{"__type": code, "Message": said})
		}
		// The signature, once more by AWS's own library.
		again := r.Clone(r.Context())
		again.URL.Scheme, again.URL.Host, again.RequestURI = "https", r.Host, ""
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		sum := sha256.Sum256(body)
		signed := strings.Split(strings.TrimPrefix(strings.Split(r.Header.Get("Authorization"), ", ")[1], "SignedHeaders="), ";")
		for name := range again.Header {
			if name == "Authorization" || !strings.Contains(" "+strings.Join(signed, " ")+" ", " "+strings.ToLower(name)+" ") {
				again.Header.Del(name)
			}
		}
		if strings.Contains(strings.Join(signed, " "), "content-length") {
			again.ContentLength = int64(len(body))
		} else {
			again.ContentLength = 0
		}
		if err == nil {
			err = v4.NewSigner().SignHTTP(r.Context(), keys, again, hex.EncodeToString(sum[:]), "secretsmanager", region, at)
		}
		var in struct{ Name, SecretId, SecretString, ClientRequestToken string } //nolint:revive // The service's spelling.
		d := json.NewDecoder(bytes.NewReader(body))
		switch {
		case err != nil || again.Header.Get("Authorization") != r.Header.Get("Authorization"):
			refuse("InvalidSignatureException", "the signature differs")
		case r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || d.Decode(&in) != nil:
			refuse("SerializationException", "")
		case s.denied:
			refuse("AccessDeniedException", "User is not authorized")
		case r.Header.Get("X-Amz-Target") == "secretsmanager.GetSecretValue":
			v := s.secrets[in.SecretId]
			if len(v) == 0 {
				refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
				return
			}
			answer(w, 200, map[string]any{"Name": in.SecretId, "VersionId": fmt.Sprint(len(v)), "SecretString": v[len(v)-1], "VersionStages": []string{"AWSCURRENT"}})
		case len(in.ClientRequestToken) < 32 || len(in.ClientRequestToken) > 64:
			refuse("InvalidParameterException", "ClientRequestToken")
		case r.Header.Get("X-Amz-Target") == "secretsmanager.CreateSecret":
			if s.secrets[in.Name] != nil {
				refuse("ResourceExistsException", "exists")
				return
			}
			s.secrets[in.Name] = []string{in.SecretString}
			answer(w, 200, map[string]any{"Name": in.Name})
		case r.Header.Get("X-Amz-Target") == "secretsmanager.PutSecretValue":
			s.secrets[in.SecretId] = append(s.secrets[in.SecretId], in.SecretString)
			answer(w, 200, map[string]any{"Name": in.SecretId})
		default:
			refuse("UnknownOperationException", "")
		}
	}))
	sdk := secretsmanager.New(secretsmanager.Options{Region: region, HTTPClient: client, Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) { return keys, nil })})
	sink := &aws{Clouds{HTTP: client, AWS: func(_ context.Context, r *http.Request, body []byte, region, service string) error {
		sigv4.Sign(r, sigv4.Digest(body), sigv4.Keys{ID: keys.AccessKeyID, Secret: node.NewSecret([]byte(keys.SecretAccessKey)), Token: node.NewSecret([]byte(keys.SessionToken))}, region, service, time.Now())
		return nil
	}}, region, "strongroom/alice"}
	s.behaves(sink, func() (string, error) {
		out, err := sdk.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: awssdk.String("strongroom/alice")})
		if err != nil {
			return "", err
		}
		return *out.SecretString, nil
	}, func(v string) error {
		_, err := sdk.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: awssdk.String("strongroom/alice"), SecretString: &v})
		return err
	})
	s.denied = false
	if err := sink.Write(t.Context(), []byte("x"), Content{}); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("over a secret that nobody has read: %v", err)
	}
}

func TestGoogleSecretManager(t *testing.T) {
	s := &store{t: t, secrets: map[string][]string{}}
	const parent = "/v1/projects/prod-1/secrets"
	client := serve(t, "secretmanager.googleapis.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		refuse := func(status int, code string) {
			answer(w, status, map[string]any{"error": map[string]any{"code": status, "status": code, "message": "no"}})
		}
		var in struct {
			Replication *struct{ Automatic *struct{} }
			Payload     struct {
				Data       []byte
				DataCrc32c string
			}
		}
		if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&in) != nil {
			refuse(400, "INVALID_ARGUMENT")
			return
		}
		name, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, parent+"/"), ":")
		name, _, _ = strings.Cut(name, "/")
		v, exists := s.secrets[name]
		switch {
		case r.Header.Get("Authorization") != "Bearer token":
			refuse(401, "UNAUTHENTICATED")
		case s.denied:
			refuse(403, "PERMISSION_DENIED")
		case r.Method == http.MethodPost && r.URL.Path == parent && in.Replication != nil && in.Replication.Automatic != nil:
			name = r.URL.Query().Get("secretId")
			if _, exists := s.secrets[name]; exists {
				refuse(409, "ALREADY_EXISTS")
				return
			}
			s.secrets[name] = []string{}
			answer(w, 200, map[string]any{"name": "projects/1/secrets/" + name})
		case !exists:
			refuse(404, "NOT_FOUND")
		case action == "addVersion" && (in.Payload.DataCrc32c == "" || in.Payload.DataCrc32c == crc(in.Payload.Data)):
			s.secrets[name] = append(v, string(in.Payload.Data))
			answer(w, 200, map[string]any{"name": fmt.Sprintf("projects/1/secrets/%s/versions/%d", name, len(v)+1), "state": "ENABLED"})
		case action == "access" && strings.HasSuffix(r.URL.Path, "/versions/latest:access") && len(v) > 0:
			last := []byte(v[len(v)-1])
			answer(w, 200, map[string]any{"name": fmt.Sprintf("projects/1/secrets/%s/versions/%d", name, len(v)),
				"payload": map[string]string{"data": base64.StdEncoding.EncodeToString(last), "dataCrc32c": crc(last)}})
		default:
			refuse(404, "NOT_FOUND")
		}
	}))
	sdk, err := secretmanager.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: withToken{client.Transport}}))
	if err != nil {
		t.Fatal(err)
	}
	sink := &google{Clouds{HTTP: client, Google: func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("token")), nil }}, "prod-1", "alice"}
	s.behaves(sink, func() (string, error) {
		out, err := sdk.Projects.Secrets.Versions.Access("projects/prod-1/secrets/alice/versions/latest").Do()
		if err != nil {
			return "", err
		}
		b, err := base64.StdEncoding.DecodeString(out.Payload.Data)
		return string(b), err
	}, func(v string) error {
		_, err := sdk.Projects.Secrets.AddVersion("projects/prod-1/secrets/alice", &secretmanager.AddSecretVersionRequest{
			Payload: &secretmanager.SecretPayload{Data: base64.StdEncoding.EncodeToString([]byte(v))}}).Do()
		return err
	})
	// A run that was cut short has left a secret without a version.
	s.denied, sink.name = false, "bob"
	if _, err := sdk.Projects.Secrets.Create("projects/prod-1", &secretmanager.Secret{Replication: &secretmanager.Replication{Automatic: &secretmanager.Automatic{}}}).SecretId("bob").Do(); err != nil {
		t.Fatal(err)
	}
	if err := sink.Write(t.Context(), []byte("x"), Content{}); err != nil {
		t.Error(err)
	}
}

type withToken struct{ http.RoundTripper }

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer token")
	return w.RoundTripper.RoundTrip(r)
}

// azureToken is what the library asks for one.
type azureToken struct{}

func (azureToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestAzureKeyVault(t *testing.T) {
	s := &store{t: t, secrets: map[string][]string{}}
	const host = "prod-1.vault.azure.net"
	client := serve(t, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		refuse := func(status int, code string) {
			answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": "no"}})
		}
		if r.Header.Get("Authorization") != "Bearer token" {
			w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/0", resource="https://vault.azure.net"`)
			refuse(401, "Unauthorized")
			return
		}
		name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/secrets/"), "/")
		v := s.secrets[name]
		one := func() map[string]any {
			return map[string]any{"id": fmt.Sprintf("https://%s/secrets/%s/%d", host, name, len(s.secrets[name])), "value": s.secrets[name][len(s.secrets[name])-1]}
		}
		var in struct{ Value, ContentType *string }
		switch {
		case r.URL.Query().Get("api-version") == "":
			refuse(400, "BadParameter")
		case s.denied:
			refuse(403, "Forbidden")
		case r.Method == http.MethodGet && len(v) == 0:
			refuse(404, "SecretNotFound")
		case r.Method == http.MethodGet:
			answer(w, 200, one())
		case r.Method == http.MethodPut && json.NewDecoder(r.Body).Decode(&in) == nil && in.Value != nil:
			s.secrets[name] = append(v, *in.Value)
			answer(w, 200, one())
		default:
			refuse(400, "BadParameter")
		}
	}))
	sdk, err := azsecrets.NewClient("https://"+host, azureToken{}, &azsecrets.ClientOptions{ClientOptions: policy.ClientOptions{Transport: client}})
	if err != nil {
		t.Fatal(err)
	}
	sink := &azure{Clouds{HTTP: client, Azure: func(_ context.Context, resource, _ string) (node.Secret, error) {
		if resource != "https://vault.azure.net" {
			return node.Secret{}, errors.New(resource)
		}
		return node.NewSecret([]byte("token")), nil
	}}, "prod-1", "alice"}
	s.behaves(sink, func() (string, error) {
		out, err := sdk.GetSecret(t.Context(), "alice", "", nil)
		if err != nil {
			return "", err
		}
		return *out.Value, nil
	}, func(v string) error {
		_, err := sdk.SetSecret(t.Context(), "alice", azsecrets.SetSecretParameters{Value: &v}, nil)
		return err
	})
}
