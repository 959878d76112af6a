package snapshot

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// blobs is a small Blob service. Azure's own library uses it in the tests too, so that what is believed here is what that library sends
// and reads.
type blobs struct {
	*httptest.Server
	mu     sync.Mutex
	there  map[string][]byte
	blocks map[string][]byte // by name and id
	asked  []string
	before func(http.ResponseWriter, *http.Request) bool // false: it has answered
}

func newBlobs(t testing.TB) *blobs {
	b := &blobs{there: map[string][]byte{}, blocks: map[string][]byte{}}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *blobs) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.asked = append(b.asked, r.Method+" "+r.URL.RequestURI())
	refuse := func(status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>no\nRequestId:1</Message></Error>", code)
	}
	// Tokens are taken since this version.
	if r.Header.Get("X-Ms-Version") < "2017-11-09" {
		refuse(http.StatusBadRequest, "InvalidHeaderValue")
		return
	}
	if r.Header.Get("Authorization") != "Bearer eyJ.token" {
		refuse(http.StatusForbidden, "AuthorizationPermissionMismatch")
		return
	}
	if b.before != nil && !b.before(w, r) {
		return
	}
	q := r.URL.Query()
	rest, ok := strings.CutPrefix(r.URL.Path, "/backup")
	if !ok {
		refuse(http.StatusNotFound, "ContainerNotFound")
		return
	}
	if rest == "" && q.Get("restype") == "container" && q.Get("comp") == "list" && r.Method == http.MethodGet {
		b.list(w, q)
		return
	}
	name := strings.TrimPrefix(rest, "/")
	content, there := b.there[name]
	switch {
	case r.Method == http.MethodPut && q.Get("comp") == "block":
		if id, err := base64.StdEncoding.DecodeString(q.Get("blockid")); err != nil || len(id) > 64 || len(body) == 0 {
			refuse(http.StatusBadRequest, "InvalidBlockId")
			return
		}
		b.blocks[name+"?"+q.Get("blockid")] = body
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut && q.Get("comp") == "blocklist":
		var list struct {
			XMLName xml.Name `xml:"BlockList"`
			Latest  []string
		}
		if err := xml.Unmarshal(body, &list); err != nil {
			refuse(http.StatusBadRequest, "InvalidXmlDocument")
			return
		}
		var all []byte
		for _, id := range list.Latest {
			part, there := b.blocks[name+"?"+id]
			if !there {
				refuse(http.StatusBadRequest, "InvalidBlockList")
				return
			}
			all = append(all, part...)
		}
		b.there[name] = all
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut && q.Get("comp") == "" && r.Header.Get("X-Ms-Blob-Type") == "BlockBlob":
		if there && r.Header.Get("If-None-Match") == "*" {
			refuse(http.StatusConflict, "BlobAlreadyExists")
			return
		}
		b.there[name] = body
		w.WriteHeader(http.StatusCreated)
	case !there:
		refuse(http.StatusNotFound, "BlobNotFound")
	case r.Method == http.MethodGet:
		_, _ = w.Write(content)
	case r.Method == http.MethodDelete:
		delete(b.there, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		refuse(http.StatusBadRequest, "InvalidQueryParameterValue")
	}
}

// list has pages of two.
func (b *blobs) list(w http.ResponseWriter, q url.Values) {
	var names []string
	for name := range b.there {
		if rest, ok := strings.CutPrefix(name, q.Get("prefix")); ok && (q.Get("delimiter") == "" || !strings.Contains(rest, q.Get("delimiter"))) && name > q.Get("marker") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	next := ""
	if len(names) > 2 {
		names, next = names[:2], names[1]
	}
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprint(w, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://x/\" ContainerName=\"backup\"><Blobs>")
	for _, name := range names {
		fmt.Fprintf(w, "<Blob><Name>%s</Name><Properties><Content-Length>%d</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>", name, len(b.there[name]))
	}
	fmt.Fprintf(w, "</Blobs><NextMarker>%s</NextMarker></EnumerationResults>", next)
}

func (b *blobs) sink() *AzureBlob {
	client := b.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &AzureBlob{HTTP: client, Endpoint: b.URL, Account: "acct", Container: "backup", Prefix: "vault/prod/", PartSize: 256 << 10, Pause: atOnce,
		Token: func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("eyJ.token")), nil }}
}

type fixedToken struct{}

func (fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "eyJ.token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// theirs is Azure's own library at the same service.
func (b *blobs) theirs(t *testing.T) *azblob.Client {
	c, err := azblob.NewClient(b.URL, fixedToken{}, &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: b.Client(), Retry: policy.RetryOptions{MaxRetries: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What one of the two has put, the other finds, lists and reads.
func TestAzureSpeaksTheSame(t *testing.T) {
	b := newBlobs(t)
	ours, theirs := b.sink(), b.theirs(t)
	for name, content := range map[string][]byte{"small": []byte("x"), "in blocks+1": much(), "none": nil, "one block": much()[:256<<10]} {
		if err := put(t.Context(), ours, name, content); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, strings.Join(b.asked, "\n"))
		}
		answer, err := theirs.DownloadStream(t.Context(), "backup", "vault/prod/"+name, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(back, content) {
			t.Errorf("%s: Azure's library reads %d bytes, %v", name, len(back), err)
		}
	}
	if _, err := theirs.UploadStream(t.Context(), "backup", "vault/prod/theirs", bytes.NewReader(much()), &azblob.UploadStreamOptions{BlockSize: 256 << 10}); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(b.asked, "\n"))
	}
	r, err := ours.Open(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, much()) {
		t.Errorf("%d bytes, %v", len(back), err)
	}
	var listed []string
	prefix := "vault/prod/"
	pages := theirs.ServiceClient().NewContainerClient("backup").NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &prefix})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Segment.BlobItems {
			listed = append(listed, fmt.Sprintf("%s %d", strings.TrimPrefix(*i.Name, prefix), *i.Properties.ContentLength))
		}
	}
	objects, err := ours.List(t.Context())
	var own []string
	for _, o := range objects {
		own = append(own, fmt.Sprintf("%s %d", o.Name, o.Size))
	}
	if err != nil || len(own) != 5 || !slices.Equal(own, listed) {
		t.Errorf("%v, %v, %v", own, listed, err)
	}
	if err := ours.Remove(t.Context(), "theirs"); err != nil {
		t.Error(err)
	}
	if _, err := theirs.DeleteBlob(t.Context(), "backup", "vault/prod/theirs", nil); !bloberror.HasCode(err, bloberror.BlobNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := ours.Open(t.Context(), "theirs"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if err := ours.Remove(t.Context(), "theirs"); err != nil {
		t.Errorf("it is gone, and that is an error: %v", err)
	}
}

func TestAzureRun(t *testing.T) {
	b, k := newBlobs(t), key(t)
	tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, k, b.sink())
	r, err := tk.Run(t.Context(), false)
	if err != nil || r.Sinks[0].Verified.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
	opened(t, b.sink(), r.Sinks[0].Archive, k)
	if r, err = tk.Run(t.Context(), false); err != nil || !r.Began.IsZero() {
		t.Errorf("it is not found again: %+v, %v", r, err)
	}
}

// A service that is busy is asked again; an upload that breaks off is seen by nobody.
func TestAzureTrouble(t *testing.T) {
	b := newBlobs(t)
	busy := 2
	b.before = func(w http.ResponseWriter, r *http.Request) bool {
		if busy > 0 && r.URL.Query().Get("comp") == "block" {
			busy--
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}
		return true
	}
	if err := put(t.Context(), b.sink(), "large", much()); err != nil || busy != 0 || !bytes.Equal(b.there["vault/prod/large"], much()) {
		t.Fatalf("%d bytes, %v", len(b.there["vault/prod/large"]), err)
	}
	for reason, broken := range map[string]func(*http.Request) bool{
		"HTTP status 500":             func(r *http.Request) bool { return r.URL.Query().Get("blockid") == "MDAwMDAwMDI=" },
		"cannot end the upload: HTTP": func(r *http.Request) bool { return r.URL.Query().Get("comp") == "blocklist" },
	} {
		b.before = func(w http.ResponseWriter, r *http.Request) bool {
			if broken(r) {
				w.WriteHeader(http.StatusInternalServerError)
				return false
			}
			return true
		}
		if err := put(t.Context(), b.sink(), "broken", much()); err == nil || !strings.Contains(err.Error(), reason) || b.there["vault/prod/broken"] != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
	b.before = nil
	stranger := b.sink()
	stranger.Token = func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("eyJ.guess")), nil }
	if _, err := stranger.List(t.Context()); err == nil || !strings.Contains(err.Error(), "AuthorizationPermissionMismatch") || !strings.Contains(err.Error(), "Storage Blob Data Contributor") || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("got %v", err)
	}
	absent := b.sink()
	absent.Container = "absent"
	if _, err := absent.List(t.Context()); err == nil || !strings.Contains(err.Error(), "hostcheck makes none") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseAzureListing(f *testing.F) {
	f.Add(`<EnumerationResults><Blobs><Blob><Name>p/a</Name><Properties><Content-Length>7</Content-Length></Properties></Blob></Blobs><NextMarker>m</NextMarker></EnumerationResults>`)
	f.Fuzz(func(t *testing.T, text string) {
		page, err := parseAzureListing(strings.NewReader(text), "p/")
		for _, o := range page.objects {
			if err == nil && (o.Name == "" || strings.Contains(o.Name, "/")) {
				t.Errorf("%+v", o)
			}
		}
	})
}
