package launch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
)

// Route is a kind of request to an API whose resources are URLs, and what a dry run takes for its answer.
type Route struct {
	Method string
	Path   *regexp.Regexp
	Action string // "images.insert"; empty: not worth writing down, as a part of an upload
	// Answer gives a status and what is answered, from the request's URL and how often this route was asked before.
	Answer func(r *http.Request, nth int) (status int, header http.Header, body any)
}

// RESTRecorder is the transport of a dry run: it writes requests down as the SDK has made them, and sends none.
type RESTRecorder struct {
	Calls  *Calls
	Routes []Route
	asked  map[string]int
}

// RoundTrip answers a request.
func (t *RESTRecorder) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = firstPart(r)
		if err != nil {
			return nil, err
		}
	}
	for _, route := range t.Routes {
		if route.Method != r.Method || !route.Path.MatchString(r.URL.Path) {
			continue
		}
		if route.Action != "" {
			call := Call{Service: r.URL.Host, Action: route.Action, Method: r.Method, URL: r.URL.String()}
			if len(body) > 0 {
				call.Input = json.RawMessage(body)
			}
			t.Calls.Add(call)
		}
		if t.asked == nil {
			t.asked = map[string]int{}
		}
		key := r.Method + r.URL.Path
		status, header, answer := route.Answer(r, t.asked[key])
		t.asked[key]++
		text, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		if header == nil {
			header = http.Header{}
		}
		header.Set("Content-Type", "application/json")
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: header, Body: io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)), Request: r,
		}, nil
	}
	return nil, fmt.Errorf("a dry run has no answer for %s %s", r.Method, r.URL.Path)
}

// firstPart reads a body, and gives the JSON in it: all of it, or what comes before the data of an upload.
func firstPart(r *http.Request) ([]byte, error) {
	defer r.Body.Close()
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && strings.HasPrefix(kind, "multipart/") {
		part, err := multipart.NewReader(r.Body, parameters["boundary"]).NextPart()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, r.Body)
		return text, err
	}
	if kind != "application/json" {
		_, err := io.Copy(io.Discard, r.Body)
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	return bytes.TrimSpace(text), err
}
