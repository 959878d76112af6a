package snapshot

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// AzureBlob is a container of Azure Blob Storage, as the machine's managed identity. The wire: Blob service REST API, version 2021-12-02. A
// small blob is put at once, a larger one in blocks, which nobody sees before their list is there, and which Azure forgets after a week
// without one. sdk/storage/azblob is held against it in the tests and not linked: docs/decisions/small-agent.md.
type AzureBlob struct {
	HTTP      *http.Client // follows no redirect
	Endpoint  string       // https://ACCOUNT.blob.core.windows.net, without a slash at its end
	Account   string
	Container string
	Prefix    string // of the names: empty, or with a slash at its end
	Token     func(context.Context) (node.Secret, error)
	PartSize  int // 0: 8 MiB, with which an archive may have 390 GiB
	Pause     func(ctx context.Context, attempt int) error
}

const (
	azureVersion = "2021-12-02"
	maxBlocks    = 50000
)

// Name implements [Sink].
func (a *AzureBlob) Name() string { return "azblob:" + a.Account + "/" + a.Container + "/" + a.Prefix }

func (a *AzureBlob) web() *cloudapi.Asker {
	return &cloudapi.Asker{HTTP: a.HTTP, Authorize: cloudapi.Bearer(a.Token), Pause: a.Pause, Refusal: s3Refusal, Hint: azureHint} // both write <Error><Code/><Message/></Error>
}

func azureHint(r *cloudapi.Refused) error {
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		return node.Hinted(r, "the managed identity needs the role Storage Blob Data Contributor on the container")
	case r.Code == "ContainerNotFound":
		return node.Hinted(r, "make the container; hostcheck makes none")
	}
	return r
}

func (a *AzureBlob) place(name string, query url.Values) string {
	out := a.Endpoint + "/" + url.PathEscape(a.Container)
	if name != "" {
		out += "/" + (&url.URL{Path: a.Prefix + name}).EscapedPath()
	}
	if len(query) > 0 {
		out += "?" + query.Encode()
	}
	return out
}

func azureHeader(more ...string) http.Header {
	h := http.Header{"X-Ms-Version": {azureVersion}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

type azureUpload struct {
	a      *AzureBlob
	ctx    context.Context //nolint:containedctx // One upload is one call of Create to Commit.
	name   string
	part   []byte
	blocks []string
}

// Create implements [Sink].
func (a *AzureBlob) Create(ctx context.Context, name string) (Upload, error) {
	return &azureUpload{a: a, ctx: ctx, name: name}, nil
}

func (u *azureUpload) Write(p []byte) (int, error) {
	return inParts(&u.part, u.a.PartSize, p, u.send)
}

func (u *azureUpload) send() error {
	if len(u.blocks) == maxBlocks {
		return fmt.Errorf("the archive has more than %d blocks", maxBlocks)
	}
	id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", len(u.blocks)))
	if err := u.put(url.Values{"comp": {"block"}, "blockid": {id}}, azureHeader("Content-Type", "application/octet-stream"), u.part); err != nil {
		return err
	}
	u.blocks, u.part = append(u.blocks, id), u.part[:0]
	return nil
}

func (u *azureUpload) put(query url.Values, header http.Header, body []byte) error {
	answer, err := u.a.web().Ask(u.ctx, cloudapi.Question{Method: http.MethodPut, URL: u.a.place(u.name, query), Header: header, Body: body})
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Commit implements [Upload].
func (u *azureUpload) Commit() error {
	if len(u.blocks) == 0 {
		return u.put(nil, azureHeader("Content-Type", "application/octet-stream", "X-Ms-Blob-Type", "BlockBlob"), u.part)
	}
	if len(u.part) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	list := struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string
	}{Latest: u.blocks}
	body, err := xml.Marshal(list)
	if err != nil {
		return err
	}
	if err := u.put(url.Values{"comp": {"blocklist"}}, azureHeader("Content-Type", "application/xml", "X-Ms-Blob-Content-Type", "application/octet-stream"), body); err != nil {
		return fmt.Errorf("cannot end the upload: %w", err)
	}
	return nil
}

// Abort implements [Upload]: blocks without a list are nothing that anybody can read.
func (u *azureUpload) Abort() {}

// PutNew puts a small blob where there is none: of several who do so at once only one does not get [ErrThere].
func (a *AzureBlob) PutNew(ctx context.Context, name string, content []byte) error {
	header := azureHeader("Content-Type", "application/octet-stream", "X-Ms-Blob-Type", "BlockBlob", "If-None-Match", "*")
	return there(a.web().Ask(ctx, cloudapi.Question{Method: http.MethodPut, URL: a.place(name, nil), Header: header, Body: content}))
}

// List implements [Sink].
func (a *AzureBlob) List(ctx context.Context) ([]Object, error) {
	query := url.Values{"restype": {"container"}, "comp": {"list"}, "prefix": {a.Prefix}, "delimiter": {"/"}}
	return everyPage(query, "marker", func() (*http.Response, error) {
		return a.web().Ask(ctx, cloudapi.Question{Method: http.MethodGet, URL: a.place("", query), Header: azureHeader()})
	}, func(r io.Reader) (listing, error) { return parseAzureListing(r, a.Prefix) })
}

func parseAzureListing(r io.Reader, prefix string) (listing, error) {
	var page struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Next    string   `xml:"NextMarker"`
		Blobs   []struct {
			Name string
			Size int64 `xml:"Properties>Content-Length"`
		} `xml:"Blobs>Blob"`
	}
	if err := xml.NewDecoder(io.LimitReader(r, maxListing)).Decode(&page); err != nil {
		return listing{}, err
	}
	out := listing{next: strings.TrimSpace(page.Next)}
	for _, b := range page.Blobs {
		out.add(b.Name, b.Size, prefix)
	}
	return out, nil
}

// Open implements [Sink].
func (a *AzureBlob) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	answer, err := a.web().Ask(ctx, cloudapi.Question{Method: http.MethodGet, URL: a.place(name, nil), Header: azureHeader()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return answer.Body, nil
}

// Remove implements [Sink].
func (a *AzureBlob) Remove(ctx context.Context, name string) error {
	return a.web().Remove(ctx, a.place(name, nil), azureHeader())
}
