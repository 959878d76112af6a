package snapshot

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// S3 is a bucket of Amazon S3 or of a server that is compatible with it. The wire: Amazon S3 API reference, version 2006-03-01. A small
// object is put at once, a larger one in parts, and no part of it is seen before all are there. aws-sdk-go-v2/service/s3 is held against
// it in the tests and not linked: docs/decisions/small-agent.md.
type S3 struct {
	HTTP         *http.Client // follows no redirect
	Endpoint     string       // https://HOST, perhaps with a path; without a slash at its end
	PathStyle    bool         // the bucket stands in the path and not before the host
	Bucket       string
	Prefix       string // of the keys: empty, or with a slash at its end
	Region       string
	StorageClass string                                       // empty: the bucket's
	Keys         func(context.Context) (sigv4.Keys, error)    // asked for each request: a role's end
	PartSize     int                                          // 0: 8 MiB, with which an archive may have 78 GiB
	Pause        func(ctx context.Context, attempt int) error // see patiently
}

const (
	usualPart  = 8 << 20
	maxParts   = 10000
	maxListing = 4 << 20
	maxPages   = 100 // of a thousand objects each
	maxRefusal = 16 << 10
	// maxAbort bounds the tidying up behind an upload that failed.
	maxAbort = 30 * time.Second
)

// Name implements [Sink].
func (s *S3) Name() string { return "s3:" + s.Bucket + "/" + s.Prefix }

// url of an object, or of the bucket when key is empty.
func (s *S3) url(key string, query url.Values) (*url.URL, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, errors.New("the endpoint is no URL")
	}
	path := strings.TrimSuffix(u.Path, "/")
	if s.PathStyle {
		path += "/" + s.Bucket
	} else {
		u.Host = s.Bucket + "." + u.Host
	}
	u.Path = path + "/" + key
	u.RawPath = sigv4.EscapePath(u.Path)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u, nil
}

func (s *S3) web() *cloudapi.Asker {
	return &cloudapi.Asker{HTTP: s.HTTP, Authorize: s.sign, Pause: s.Pause, Refusal: s3Refusal, Hint: s3Hint}
}

func (s *S3) sign(ctx context.Context, request *http.Request, body []byte) error {
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	digest := sigv4.Digest(body)
	request.Header.Set("X-Amz-Content-Sha256", digest)
	sigv4.Sign(request, digest, keys, s.Region, "s3", time.Now())
	return nil
}

// ask gives an answer that is a success. The caller closes it.
func (s *S3) ask(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	u, err := s.url(key, query)
	if err != nil {
		return nil, err
	}
	return s.web().Ask(ctx, cloudapi.Question{Method: method, URL: u.String(), Header: header, Body: body})
}

func s3Refusal(body []byte) *cloudapi.Refused {
	var answer struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(body, &answer) != nil {
		return &cloudapi.Refused{}
	}
	return &cloudapi.Refused{Code: cloudapi.OneLine(answer.Code), Said: cloudapi.OneLine(answer.Message)}
}

func s3Hint(r *cloudapi.Refused) error {
	switch {
	case r.Code == "SignatureDoesNotMatch", r.Code == "RequestTimeTooSkewed", r.Code == "InvalidAccessKeyId":
		return node.Hinted(r, "are the keys those of this endpoint, is the region right, and this node's clock?")
	case r.Status == http.StatusForbidden:
		return node.Hinted(r, "docs/snapshot.md lists what the keys must be allowed to do")
	case r.Code == "NoSuchBucket":
		return node.Hinted(r, "make the bucket; hostcheck makes none")
	case r.Status >= 300 && r.Status < 400:
		return node.Hinted(r, "the bucket is in another region, or at another endpoint: name it in the sink")
	}
	return r
}

// s3Upload keeps one part.
type s3Upload struct {
	s    *S3
	ctx  context.Context //nolint:containedctx // One upload is one call of Create to Commit.
	key  string
	part []byte // the bytes that were not sent yet
	id   string // of the upload in parts; empty: it has not begun
	tags []string
}

// Create implements [Sink].
func (s *S3) Create(ctx context.Context, name string) (Upload, error) {
	return &s3Upload{s: s, ctx: ctx, key: s.Prefix + name}, nil
}

func (u *s3Upload) Write(p []byte) (int, error) {
	return inParts(&u.part, u.s.PartSize, p, u.send)
}

func (u *s3Upload) header() http.Header {
	h := http.Header{"Content-Type": {"application/octet-stream"}}
	if u.s.StorageClass != "" {
		h.Set("X-Amz-Storage-Class", u.s.StorageClass)
	}
	return h
}

// send puts the part that is full, or the last one.
func (u *s3Upload) send() error {
	if u.id == "" {
		answer, err := u.s.ask(u.ctx, http.MethodPost, u.key, url.Values{"uploads": {""}}, u.header(), nil)
		if err != nil {
			return fmt.Errorf("cannot begin an upload: %w", err)
		}
		var begun struct {
			XMLName xml.Name `xml:"InitiateMultipartUploadResult"`
			ID      string   `xml:"UploadId"`
		}
		if err := decode(answer, &begun); err != nil || begun.ID == "" {
			return fmt.Errorf("cannot begin an upload: the answer names none: %w", errors.Join(err))
		}
		u.id = begun.ID
	}
	if len(u.tags) == maxParts {
		return fmt.Errorf("the archive has more than %d parts", maxParts)
	}
	number := strconv.Itoa(len(u.tags) + 1)
	answer, err := u.s.ask(u.ctx, http.MethodPut, u.key, url.Values{"partNumber": {number}, "uploadId": {u.id}}, nil, u.part)
	if err != nil {
		return fmt.Errorf("part %s: %w", number, err)
	}
	answer.Body.Close()
	tag := answer.Header.Get("ETag")
	if tag == "" {
		return fmt.Errorf("part %s: the answer has no ETag", number)
	}
	u.tags = append(u.tags, tag)
	u.part = u.part[:0]
	return nil
}

// Commit implements [Upload].
func (u *s3Upload) Commit() error {
	if u.id == "" {
		answer, err := u.s.ask(u.ctx, http.MethodPut, u.key, nil, u.header(), u.part)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	if len(u.part) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	type part struct {
		PartNumber int
		ETag       string
	}
	var list struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUpload"`
		Part    []part
	}
	for i, tag := range u.tags {
		list.Part = append(list.Part, part{i + 1, tag})
	}
	body, err := xml.Marshal(list)
	if err != nil {
		return err
	}
	answer, err := u.s.ask(u.ctx, http.MethodPost, u.key, url.Values{"uploadId": {u.id}}, http.Header{"Content-Type": {"application/xml"}}, body)
	if err != nil {
		return fmt.Errorf("cannot end the upload: %w", err)
	}
	// The status is sent before the parts are put together; what follows may be a refusal all the same.
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil {
		return fmt.Errorf("cannot end the upload: %w", err)
	}
	var done struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
	}
	if err := xml.Unmarshal(content, &done); err != nil {
		said := s3Refusal(content)
		said.Status = answer.StatusCode
		return fmt.Errorf("cannot end the upload: %w", s3Hint(said))
	}
	u.id = ""
	return nil
}

// Abort implements [Upload].
func (u *s3Upload) Abort() {
	if u.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), maxAbort)
	defer cancel()
	if answer, err := u.s.ask(ctx, http.MethodDelete, u.key, url.Values{"uploadId": {u.id}}, nil, nil); err == nil {
		answer.Body.Close()
		u.id = ""
	}
}

// decode reads an answer of XML and closes it.
func decode(answer *http.Response, into any) error {
	defer answer.Body.Close()
	return xml.NewDecoder(io.LimitReader(answer.Body, maxListing)).Decode(into)
}

// PutNew puts a small object where there is none: of several who do so at once only one does not get [ErrThere].
func (s *S3) PutNew(ctx context.Context, name string, content []byte) error {
	header := http.Header{"Content-Type": {"application/octet-stream"}, "If-None-Match": {"*"}}
	return there(s.ask(ctx, http.MethodPut, s.Prefix+name, nil, header, content))
}

// List implements [Sink].
func (s *S3) List(ctx context.Context) ([]Object, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {s.Prefix}, "delimiter": {"/"}}
	return everyPage(query, "continuation-token", func() (*http.Response, error) { return s.ask(ctx, http.MethodGet, "", query, nil, nil) },
		func(r io.Reader) (listing, error) { return parseListing(r, s.Prefix) })
}

func parseListing(r io.Reader, prefix string) (listing, error) {
	var page struct {
		XMLName   xml.Name `xml:"ListBucketResult"`
		Truncated bool     `xml:"IsTruncated"`
		Next      string   `xml:"NextContinuationToken"`
		Contents  []struct {
			Key  string
			Size int64
		}
	}
	if err := xml.NewDecoder(io.LimitReader(r, maxListing)).Decode(&page); err != nil {
		return listing{}, err
	}
	var out listing
	for _, o := range page.Contents {
		out.add(o.Key, o.Size, prefix)
	}
	if page.Truncated {
		if out.next = page.Next; out.next == "" {
			return listing{}, errors.New("it goes on, and does not say where")
		}
	}
	return out, nil
}

// Open implements [Sink].
func (s *S3) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	answer, err := s.ask(ctx, http.MethodGet, s.Prefix+name, nil, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return answer.Body, nil
}

// Remove implements [Sink].
func (s *S3) Remove(ctx context.Context, name string) error {
	u, err := s.url(s.Prefix+name, nil)
	if err != nil {
		return err
	}
	return s.web().Remove(ctx, u.String(), nil)
}
