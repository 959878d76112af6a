package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// GCS is a bucket of Google Cloud Storage, as the instance's service account. The wire: Cloud Storage JSON API v1, "Resumable uploads". A
// small object is put at once, a larger one in a session, and nobody sees it before its last byte is there. cloud.google.com/go/storage
// and google.golang.org/api are held against it in the tests and not linked: docs/decisions/small-agent.md.
type GCS struct {
	HTTP     *http.Client // follows no redirect
	Endpoint string       // empty: Google's
	Bucket   string
	Prefix   string                                     // of the names: empty, or with a slash at its end
	Token    func(context.Context) (node.Secret, error) // of the scope devstorage.read_write, or cloud-platform
	PartSize int                                        // a multiple of 256 KiB; 0: 8 MiB
	Pause    func(ctx context.Context, attempt int) error
}

const googleStorage = "https://storage.googleapis.com"

// Name implements [Sink].
func (g *GCS) Name() string { return "gcs:" + g.Bucket + "/" + g.Prefix }

func (g *GCS) web() *cloudapi.Asker {
	return &cloudapi.Asker{HTTP: g.HTTP, Authorize: cloudapi.Bearer(g.Token), Pause: g.Pause, Refusal: googleRefusal, Hint: googleHint}
}

func googleRefusal(body []byte) *cloudapi.Refused {
	var answer struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	if json.Unmarshal(body, &answer) != nil {
		return &cloudapi.Refused{Said: cloudapi.OneLine(string(body))} // an upload is refused in plain words
	}
	r := &cloudapi.Refused{Said: cloudapi.OneLine(answer.Error.Message)}
	if len(answer.Error.Errors) > 0 {
		r.Code = cloudapi.OneLine(answer.Error.Errors[0].Reason)
	}
	return r
}

func googleHint(r *cloudapi.Refused) error {
	if r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden {
		return node.Hinted(r, "the instance's service account needs storage.objects.create, get, list and delete on the bucket, and the scope devstorage.read_write or cloud-platform")
	}
	return r
}

// object is its address below the bucket; empty: the list.
func (g *GCS) place(kind, name string, query url.Values) string {
	out := cmp.Or(g.Endpoint, googleStorage) + kind + "/storage/v1/b/" + url.PathEscape(g.Bucket) + "/o"
	if name != "" {
		out += "/" + url.PathEscape(g.Prefix+name)
	}
	return out + "?" + query.Encode()
}

type gcsUpload struct {
	g       *GCS
	ctx     context.Context //nolint:containedctx // One upload is one call of Create to Commit.
	name    string
	part    []byte // the bytes that the store does not have yet
	sent    int64  // that it has
	session string // address of the upload; it is worth a token. Empty: it has not begun
}

// Create implements [Sink].
func (g *GCS) Create(ctx context.Context, name string) (Upload, error) {
	return &gcsUpload{g: g, ctx: ctx, name: name}, nil
}

func (u *gcsUpload) Write(p []byte) (int, error) {
	return inParts(&u.part, u.g.PartSize, p, func() error { return u.send(false) })
}

func (u *gcsUpload) begin() error {
	place := u.g.place("/upload", "", url.Values{"uploadType": {"resumable"}, "name": {u.g.Prefix + u.name}})
	answer, err := u.g.web().Ask(u.ctx, cloudapi.Question{Method: http.MethodPost, URL: place, Header: http.Header{"X-Upload-Content-Type": {"application/octet-stream"}}})
	if err != nil {
		return fmt.Errorf("cannot begin an upload: %w", err)
	}
	answer.Body.Close()
	// The address of a session is worth a token, and is shown a token: it has to be the same store.
	session, err := url.Parse(answer.Header.Get("Location"))
	asked, _ := url.Parse(place)
	if err != nil || session.Scheme != asked.Scheme || session.Host != asked.Host || session.User != nil {
		return errors.New("cannot begin an upload: the answer names no address at this store")
	}
	u.session = session.String()
	return nil
}

// send puts what there is. The store may have taken less than all of it, and says so; the rest is sent again. What it has is not taken twice.
func (u *gcsUpload) send(last bool) error {
	if u.session == "" {
		if err := u.begin(); err != nil {
			return err
		}
	}
	for {
		total := "*"
		if last {
			total = strconv.FormatInt(u.sent+int64(len(u.part)), 10)
		}
		span := fmt.Sprintf("bytes %d-%d/%s", u.sent, u.sent+int64(len(u.part))-1, total)
		if len(u.part) == 0 {
			span = "bytes */" + total
		}
		answer, err := u.g.web().Ask(u.ctx, cloudapi.Question{Method: http.MethodPut, URL: u.session, Header: http.Header{"Content-Range": {span}}, Body: u.part, Also: http.StatusPermanentRedirect})
		if err != nil {
			return fmt.Errorf("the part from byte %d: %w", u.sent, err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusPermanentRedirect {
			if !last {
				return fmt.Errorf("the part from byte %d: the store takes it for the last one", u.sent)
			}
			u.session, u.part = "", nil
			return nil
		}
		has, err := persisted(answer.Header.Get("Range"))
		if err != nil || has < u.sent || has > u.sent+int64(len(u.part)) || last && has == u.sent+int64(len(u.part)) || has == u.sent && len(u.part) > 0 {
			return fmt.Errorf("the part from byte %d: the store does not say what it has of it", u.sent)
		}
		u.part = u.part[:copy(u.part, u.part[has-u.sent:])]
		u.sent = has
		if !last && len(u.part) == 0 {
			return nil
		}
	}
}

// persisted reads how many bytes a session has: "bytes=0-262143"; without one it has none.
func persisted(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	end, ok := strings.CutPrefix(header, "bytes=0-")
	n, err := strconv.ParseInt(end, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, fmt.Errorf("%.60q is no range", header)
	}
	return n + 1, nil
}

// Commit implements [Upload].
func (u *gcsUpload) Commit() error {
	if u.session != "" {
		return u.send(true)
	}
	place := u.g.place("/upload", "", url.Values{"uploadType": {"media"}, "name": {u.g.Prefix + u.name}})
	answer, err := u.g.web().Ask(u.ctx, cloudapi.Question{Method: http.MethodPost, URL: place, Header: http.Header{"Content-Type": {"application/octet-stream"}}, Body: u.part})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// statusGivenUp is how the store says that a session is no more.
const statusGivenUp = 499

// Abort implements [Upload].
func (u *gcsUpload) Abort() {
	if u.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), maxAbort)
	defer cancel()
	if answer, err := u.g.web().Ask(ctx, cloudapi.Question{Method: http.MethodDelete, URL: u.session, Also: statusGivenUp}); err == nil {
		answer.Body.Close()
		u.session = ""
	}
}

// PutNew puts a small object where there is none: of several who do so at once only one does not get [ErrThere].
func (g *GCS) PutNew(ctx context.Context, name string, content []byte) error {
	place := g.place("/upload", "", url.Values{"uploadType": {"media"}, "name": {g.Prefix + name}, "ifGenerationMatch": {"0"}})
	return there(g.web().Ask(ctx, cloudapi.Question{Method: http.MethodPost, URL: place, Header: http.Header{"Content-Type": {"application/octet-stream"}}, Body: content}))
}

// List implements [Sink].
func (g *GCS) List(ctx context.Context) ([]Object, error) {
	query := url.Values{"prefix": {g.Prefix}, "delimiter": {"/"}, "fields": {"nextPageToken,items(name,size)"}}
	return everyPage(query, "pageToken", func() (*http.Response, error) {
		return g.web().Ask(ctx, cloudapi.Question{Method: http.MethodGet, URL: g.place("", "", query)})
	}, func(r io.Reader) (listing, error) { return parseGoogleListing(r, g.Prefix) })
}

func parseGoogleListing(r io.Reader, prefix string) (listing, error) {
	var page struct {
		Next  string `json:"nextPageToken"`
		Items []struct {
			Name string `json:"name"`
			Size int64  `json:"size,string"`
		} `json:"items"`
	}
	if err := json.NewDecoder(io.LimitReader(r, maxListing)).Decode(&page); err != nil {
		return listing{}, err
	}
	out := listing{next: page.Next}
	for _, o := range page.Items {
		out.add(o.Name, o.Size, prefix)
	}
	return out, nil
}

// Open implements [Sink].
func (g *GCS) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	answer, err := g.web().Ask(ctx, cloudapi.Question{Method: http.MethodGet, URL: g.place("", name, url.Values{"alt": {"media"}})})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return answer.Body, nil
}

// Remove implements [Sink].
func (g *GCS) Remove(ctx context.Context, name string) error {
	return g.web().Remove(ctx, g.place("", name, nil), nil)
}
