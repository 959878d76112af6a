package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// bucket is a server that speaks S3, which believes only what AWS's own library would have signed.
type bucket struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	before func(http.ResponseWriter, *http.Request) bool // false: it has answered
}

func newBucket(t testing.TB) *bucket {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backup"); err != nil {
		t.Fatal(err)
	}
	b := &bucket{}
	inner := gofakes3.New(backend).Server()
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.asked = append(b.asked, r.Method+" "+r.URL.RequestURI())
		b.mu.Unlock()
		if !signedByAWS(t, r, body) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>`)
			return
		}
		if b.before != nil && !b.before(w, r) {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// signedByAWS recomputes the signature.
func signedByAWS(t testing.TB, r *http.Request, body []byte) bool {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	_, signed, found := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	digest := sigv4.Digest(body)
	if err != nil || !found || r.Header.Get("X-Amz-Content-Sha256") != digest {
		return false
	}
	again := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}, ContentLength: -1, URL: &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}}
	for name := range strings.SplitSeq(signed, ";") {
		if v := r.Header.Values(name); v != nil {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	keys := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: r.Header.Get("X-Amz-Security-Token")}
	if err := signer.SignHTTP(t.Context(), keys, again, digest, "s3", "eu-central-1", at); err != nil {
		return false
	}
	return again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

func (b *bucket) sink() *S3 {
	return &S3{HTTP: b.Client(), Endpoint: b.URL, PathStyle: true, Bucket: "backup", Prefix: "vault/prod/", Region: "eu-central-1",
		Keys: func(context.Context) (sigv4.Keys, error) {
			return sigv4.Keys{ID: "AKID", Secret: node.NewSecret([]byte("secret"))}, nil
		},
		PartSize: 64 << 10, Pause: func(context.Context, int) error { return nil }}
}

// pending counts the uploads that were begun and neither ended nor given up.
func (b *bucket) pending(t testing.TB) int {
	t.Helper()
	answer, err := b.sink().ask(t.Context(), http.MethodGet, "", url.Values{"uploads": {""}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(content), "<UploadId>")
}

func TestS3(t *testing.T) {
	b, k := newBucket(t), key(t)
	tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, k, b.sink())
	r, err := tk.Run(t.Context(), false)
	if err != nil || r.Sinks[0].Verified.IsZero() {
		t.Fatalf("%+v, %v\n%s", r, err, strings.Join(b.asked, "\n"))
	}
	opened(t, b.sink(), r.Sinks[0].Archive, k)
	if r, err = tk.Run(t.Context(), false); err != nil || !r.Began.IsZero() {
		t.Errorf("it is not found again: %+v, %v", r, err)
	}
	tk.Retention.Least, tk.Retention.Most = 1, 1
	for range 2 {
		if r, err = tk.Run(t.Context(), true); err != nil || r.Sinks[0].Warning != "" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if objects, err := b.sink().List(t.Context()); err != nil || len(objects) != 2 {
		t.Errorf("%v, %v", objects, err)
	}
	// Another key may not.
	stranger := b.sink()
	stranger.Keys = func(context.Context) (sigv4.Keys, error) {
		return sigv4.Keys{ID: "AKID", Secret: node.NewSecret([]byte("guessed"))}, nil
	}
	if _, err := stranger.List(t.Context()); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") || !strings.Contains(err.Error(), "hint") || strings.Contains(err.Error(), "guessed") {
		t.Errorf("got %v", err)
	}
}

// large is 200 KiB that do not compress.
func large() []byte {
	out := make([]byte, 200<<10)
	for i, x := 0, uint32(1); i < len(out); i++ {
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

func TestS3InParts(t *testing.T) {
	b := newBucket(t)
	s, content := b.sink(), large()
	failures := 2
	b.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == "2" && failures > 0 { // it is sent again
			failures--
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}
		return true
	}
	if err := put(t.Context(), s, "large", content); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, content) || failures != 0 || b.pending(t) != 0 {
		t.Errorf("%d bytes came back, %v; %d uploads are pending", len(back), err, b.pending(t))
	}
}

// An upload that breaks off is seen by nobody, and leaves no parts for which somebody pays.
func TestS3Truncated(t *testing.T) {
	for reason, before := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"HTTP status 500": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("partNumber") != "2" {
				return true
			}
			w.WriteHeader(http.StatusInternalServerError)
			return false
		},
		// The status says yes and the body no, as the reference warns.
		"InternalError": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || r.URL.Query().Get("uploadId") == "" {
				return true
			}
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>`)
			return false
		},
		"EOF": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("partNumber") != "2" {
				return true
			}
			panic(http.ErrAbortHandler)
		},
	} {
		b := newBucket(t)
		b.Config.ErrorLog = nil
		b.before = before
		if err := put(t.Context(), b.sink(), "large", large()); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
		b.before = nil
		if objects, err := b.sink().List(t.Context()); err != nil || len(objects) > 0 || b.pending(t) != 0 {
			t.Errorf("%s: %v, %v, %d uploads are pending", reason, objects, err, b.pending(t))
		}
	}
}

func TestS3Pages(t *testing.T) {
	b := newBucket(t)
	s := b.sink()
	for range 3 {
		if err := put(t.Context(), s, strings.Repeat("x", 1+len(b.asked)), nil); err != nil {
			t.Fatal(err)
		}
	}
	other := b.sink()
	other.Prefix += "deeper/"
	if err := put(t.Context(), other, "y", nil); err != nil {
		t.Fatal(err)
	}
	if objects, err := s.List(t.Context()); err != nil || len(objects) != 3 {
		t.Errorf("%v, %v", objects, err)
	}
	if _, err := s.Open(t.Context(), "absent"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	page, err := parseListing(strings.NewReader(`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a+b=</NextContinuationToken><Contents><Key>vault/a</Key><Size>7</Size></Contents></ListBucketResult>`), "vault/")
	if err != nil || page.next != "a+b=" || len(page.objects) != 1 || page.objects[0] != (Object{"a", 7}) {
		t.Errorf("%+v, %v", page, err)
	}
}

// The bucket stands before the host, unless the sink says otherwise.
func TestS3URL(t *testing.T) {
	s := &S3{Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "backup"}
	for want, style := range map[string]bool{"https://backup.s3.eu-central-1.amazonaws.com/v/a%2B1?x=%20": false, "https://s3.eu-central-1.amazonaws.com/backup/v/a%2B1?x=%20": true} {
		s.PathStyle = style
		if u, err := s.url("v/a+1", url.Values{"x": {" "}}); err != nil || u.String() != want {
			t.Errorf("got %s, %v", u, err)
		}
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add(`<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/a</Key><Size>7</Size></Contents></ListBucketResult>`)
	f.Add(`<Error><Code>x</Code></Error>`)
	f.Fuzz(func(t *testing.T, text string) {
		page, err := parseListing(strings.NewReader(text), "p/")
		for _, o := range page.objects {
			if err == nil && (o.Name == "" || strings.Contains(o.Name, "/")) {
				t.Errorf("%+v", o)
			}
		}
	})
}
