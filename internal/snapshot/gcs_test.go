package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// google is a small Cloud Storage. Google's own library uses it in the tests too, so that what is believed here is what that library
// sends and reads.
type google struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string][]byte
	sessions map[string]*session
	asked    []string
	before   func(http.ResponseWriter, *http.Request) bool // false: it has answered
	takes    int                                           // bytes of the next part that are taken; 0: all
}

type session struct {
	name    string
	content []byte
}

func newGoogle(t testing.TB) *google {
	g := &google{objects: map[string][]byte{}, sessions: map[string]*session{}}
	g.Server = httptest.NewTLSServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *google) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.asked = append(g.asked, r.Method+" "+r.URL.EscapedPath())
	refuse := func(status int, reason string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": "no " + reason, "errors": []any{map[string]any{"reason": reason}}}})
	}
	if r.Header.Get("Authorization") != "Bearer ya29.token" {
		refuse(http.StatusUnauthorized, "authError")
		return
	}
	if g.before != nil && !g.before(w, r) {
		return
	}
	const bucket, uploads = "/storage/v1/b/backup/o", "/upload/storage/v1/b/backup/o"
	q := r.URL.Query()
	done := func(name string, content []byte) {
		g.objects[name] = content
		_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "size": strconv.Itoa(len(content))})
	}
	switch path := r.URL.EscapedPath(); {
	case path == uploads && q.Get("upload_id") != "":
		s := g.sessions[q.Get("upload_id")]
		switch {
		case s == nil:
			refuse(http.StatusGone, "gone")
		case r.Method == http.MethodDelete:
			delete(g.sessions, q.Get("upload_id"))
			w.WriteHeader(statusGivenUp)
		default:
			g.part(w, r, s, body, done)
		}
	case path == uploads && q.Get("uploadType") == "media":
		if _, there := g.objects[q.Get("name")]; there && q.Get("ifGenerationMatch") == "0" {
			refuse(http.StatusPreconditionFailed, "conditionNotMet")
			return
		}
		done(q.Get("name"), body)
	case path == uploads && q.Get("uploadType") == "resumable":
		name := q.Get("name")
		if name == "" { // Google's library writes it into the body
			var o storage.Object
			_ = json.Unmarshal(body, &o)
			name = o.Name
		}
		if _, there := g.objects[name]; there && q.Get("ifGenerationMatch") == "0" {
			refuse(http.StatusPreconditionFailed, "conditionNotMet")
			return
		}
		id := fmt.Sprint(len(g.asked))
		g.sessions[id] = &session{name: name}
		w.Header().Set("Location", "https://"+r.Host+uploads+"?uploadType=resumable&upload_id="+id)
	case path == bucket && r.Method == http.MethodGet:
		g.list(w, q)
	case strings.HasPrefix(path, bucket+"/"):
		name, _ := url.PathUnescape(strings.TrimPrefix(path, bucket+"/"))
		content, there := g.objects[name]
		switch {
		case !there:
			refuse(http.StatusNotFound, "notFound")
		case r.Method == http.MethodDelete:
			delete(g.objects, name)
			w.WriteHeader(http.StatusNoContent)
		case q.Get("alt") == "media":
			_, _ = w.Write(content)
		default:
			refuse(http.StatusBadRequest, "invalid")
		}
	default:
		refuse(http.StatusNotFound, "notFound")
	}
}

func (g *google) part(w http.ResponseWriter, r *http.Request, s *session, body []byte, done func(string, []byte)) {
	var first, last, total int
	span := strings.Replace(r.Header.Get("Content-Range"), "/*", "/-1", 1)
	if n, _ := fmt.Sscanf(span, "bytes %d-%d/%d", &first, &last, &total); n == 3 {
		if first > len(s.content) || last-first+1 != len(body) || total < 0 && len(body)%(256<<10) != 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if g.takes > 0 && g.takes < len(body) {
			body, g.takes = body[:g.takes], 0
		}
		s.content = append(s.content[:first], body...)
	} else if _, err := fmt.Sscanf(span, "bytes */%d", &total); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if total == len(s.content) {
		done(s.name, s.content)
		return
	}
	if len(s.content) > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.content)-1))
	}
	if r.Header.Get("X-Guploader-No-308") == "yes" { // Google's library asks for it
		w.Header().Set("X-Http-Status-Code-Override", "308")
		return
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

// list has pages of two.
func (g *google) list(w http.ResponseWriter, q url.Values) {
	page := storage.Objects{}
	var names []string
	for name := range g.objects {
		if rest, ok := strings.CutPrefix(name, q.Get("prefix")); ok && (q.Get("delimiter") == "" || !strings.Contains(rest, q.Get("delimiter"))) && name > q.Get("pageToken") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 2 {
		names = names[:2]
		page.NextPageToken = names[1]
	}
	for _, name := range names {
		page.Items = append(page.Items, &storage.Object{Name: name, Size: uint64(len(g.objects[name]))})
	}
	_ = json.NewEncoder(w).Encode(page)
}

func (g *google) sink() *GCS {
	client := g.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &GCS{HTTP: client, Endpoint: g.URL, Bucket: "backup", Prefix: "vault/prod/", PartSize: 256 << 10, Pause: atOnce,
		Token: func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("ya29.token")), nil }}
}

func atOnce(context.Context, int) error { return nil }

// theirs is Google's own library at the same store.
func (g *google) theirs(t *testing.T) *storage.Service {
	client := &http.Client{Transport: shows{g.Client().Transport, "ya29.token"}}
	s, err := storage.NewService(t.Context(), option.WithHTTPClient(client), option.WithEndpoint(g.URL+"/storage/v1/"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type shows struct {
	http.RoundTripper
	token string
}

func (s shows) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+s.token)
	return s.RoundTripper.RoundTrip(r)
}

// much is a megabyte and some that do not compress.
func much() []byte { return slices.Concat(large(), large(), large(), large(), large(), []byte("end")) }

// What one of the two has put, the other finds, lists and reads.
func TestGoogleSpeaksTheSame(t *testing.T) {
	g := newGoogle(t)
	ours, theirs := g.sink(), g.theirs(t)
	for name, content := range map[string][]byte{"small": []byte("x"), "in parts+1": much(), "none": nil, "one part": much()[:256<<10]} {
		if err := put(t.Context(), ours, name, content); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, strings.Join(g.asked, "\n"))
		}
		answer, err := theirs.Objects.Get("backup", "vault/prod/"+name).Download()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(back, content) {
			t.Errorf("%s: Google's library reads %d bytes, %v", name, len(back), err)
		}
	}
	_, err := theirs.Objects.Insert("backup", &storage.Object{Name: "vault/prod/theirs"}).Media(bytes.NewReader(much()), googleapi.ChunkSize(256<<10)).Do()
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(g.asked, "\n"))
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
	if err := theirs.Objects.List("backup").Prefix("vault/prod/").Delimiter("/").Pages(t.Context(), func(o *storage.Objects) error {
		for _, i := range o.Items {
			listed = append(listed, fmt.Sprintf("%s %d", strings.TrimPrefix(i.Name, "vault/prod/"), i.Size))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
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
	var gone *googleapi.Error
	if err := theirs.Objects.Delete("backup", "vault/prod/theirs").Do(); !errors.As(err, &gone) || gone.Code != http.StatusNotFound {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := ours.Open(t.Context(), "theirs"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if err := ours.Remove(t.Context(), "theirs"); err != nil {
		t.Errorf("it is gone, and that is an error: %v", err)
	}
}

func TestGoogleRun(t *testing.T) {
	g, k := newGoogle(t), key(t)
	tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, k, g.sink())
	r, err := tk.Run(t.Context(), false)
	if err != nil || r.Sinks[0].Verified.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
	opened(t, g.sink(), r.Sinks[0].Archive, k)
	if r, err = tk.Run(t.Context(), false); err != nil || !r.Began.IsZero() {
		t.Errorf("it is not found again: %+v, %v", r, err)
	}
}

// A store that is busy, or has taken half of a part, gets the rest; one that gives up leaves nothing.
func TestGoogleTrouble(t *testing.T) {
	g := newGoogle(t)
	busy := 2
	g.takes = 256 << 10
	inParts := g.sink()
	inParts.PartSize = 512 << 10
	g.before = func(w http.ResponseWriter, r *http.Request) bool {
		if busy > 0 && r.Method == http.MethodPut {
			busy--
			w.WriteHeader(http.StatusServiceUnavailable)
			return false
		}
		return true
	}
	if err := put(t.Context(), inParts, "large", much()); err != nil || busy != 0 || g.takes != 0 || !bytes.Equal(g.objects["vault/prod/large"], much()) {
		t.Fatalf("%d bytes, %v", len(g.objects["vault/prod/large"]), err)
	}
	g.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && !strings.HasPrefix(r.Header.Get("Content-Range"), "bytes 0-") {
			w.WriteHeader(http.StatusInternalServerError)
			return false
		}
		return true
	}
	clear(g.sessions)
	if err := put(t.Context(), g.sink(), "broken", much()); err == nil || !strings.Contains(err.Error(), "HTTP status 500") || strings.Contains(err.Error(), "upload_id") {
		t.Errorf("got %v", err)
	}
	if g.objects["vault/prod/broken"] != nil || len(g.sessions) > 0 {
		t.Errorf("something is left: %d sessions", len(g.sessions))
	}
	g.before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Location", "https://elsewhere.example.net/upload")
		return false
	}
	if err := put(t.Context(), g.sink(), "elsewhere", much()); err == nil || !strings.Contains(err.Error(), "no address at this store") {
		t.Errorf("the token is shown elsewhere: %v", err)
	}
	g.before = nil
	stranger := g.sink()
	stranger.Token = func(context.Context) (node.Secret, error) { return node.NewSecret([]byte("ya29.guess")), nil }
	if _, err := stranger.List(t.Context()); err == nil || !strings.Contains(err.Error(), "authError") || !strings.Contains(err.Error(), "hint: the instance's service account") || strings.Contains(err.Error(), "ya29") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseGoogleListing(f *testing.F) {
	f.Add(`{"nextPageToken":"a","items":[{"name":"p/a","size":"7"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		page, err := parseGoogleListing(strings.NewReader(text), "p/")
		for _, o := range page.objects {
			if err == nil && (o.Name == "" || strings.Contains(o.Name, "/")) {
				t.Errorf("%+v", o)
			}
		}
	})
}
