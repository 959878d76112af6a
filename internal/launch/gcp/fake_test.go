package gcp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/storage/v1"

	"github.com/strongroom/strongroom/internal/launch/gcp"
)

// project is a server that speaks as Compute Engine and Cloud Storage do. It decodes each request into the SDK's own types, and
// refuses what these do not have.
type project struct {
	t         *testing.T
	url       string
	mu        sync.Mutex
	objects   map[string][]byte
	images    map[string]*compute.Image
	templates map[string]*compute.InstanceTemplate
	uploads   map[string]*upload
	actions   []string
	count     map[string]int
	fault     func(action string, nth int) int // a status in place of an answer; 0: none
	broken    string                           // an operation's action that ends with an error
	next      int
	pending   map[string]string // operations that have not been waited for
}

type upload struct {
	object *storage.Object
	data   []byte
}

func newProject(t *testing.T) *project {
	p := &project{
		t: t, objects: map[string][]byte{}, images: map[string]*compute.Image{}, templates: map[string]*compute.InstanceTemplate{},
		uploads: map[string]*upload{}, count: map[string]int{}, pending: map[string]string{},
	}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *project) clients() gcp.Clients {
	c, err := gcp.NewClients(p.t.Context(), http.DefaultClient, p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *project) forget() { p.actions, p.count = nil, map[string]int{} }

// wrote lists what was no mere question.
func (p *project) wrote() string {
	var list []string
	for _, a := range p.actions {
		if !strings.HasSuffix(a, ".get") && !strings.HasSuffix(a, ".wait") {
			list = append(list, a)
		}
	}
	return strings.Join(list, " ")
}

func (p *project) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the test has cancelled the request in the middle of it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, status, answer := p.serve(r, body)
	if status == http.StatusBadRequest {
		p.t.Errorf("%s %s: %v", r.Method, r.URL, answer)
	}
	w.Header().Set("Content-Type", "application/json")
	if header, ok := answer.(http.Header); ok {
		maps.Copy(w.Header(), header)
		answer = map[string]any{}
	}
	w.WriteHeader(status)
	if status >= 400 {
		answer = map[string]any{"error": map[string]any{"code": status, "message": fmt.Sprint(answer)}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// parameters are those that the SDK puts into every query, and those of an upload.
func parameters(q url.Values, more ...string) error {
	for key := range q {
		if !strings.Contains(" alt prettyPrint "+strings.Join(more, " ")+" ", " "+key+" ") {
			return fmt.Errorf("there is no parameter %s", key)
		}
	}
	return nil
}

func (p *project) serve(r *http.Request, body []byte) (action string, status int, answer any) {
	bad := func(format string, args ...any) (string, int, any) {
		return action, http.StatusBadRequest, fmt.Sprintf(format, args...)
	}
	compute1, isCompute := strings.CutPrefix(r.URL.Path, "/compute/v1/projects/my-project/global/")
	parts := strings.Split(compute1, "/")
	object, isObject := strings.CutPrefix(r.URL.Path, "/storage/v1/b/my-bucket/o/")
	isUpload := r.URL.Path == "/upload/storage/v1/b/my-bucket/o"
	verb := map[string]string{"GET": "get", "POST": "insert", "DELETE": "delete", "PUT": "insert"}[r.Method]
	switch {
	case isCompute && parts[0] == "operations" && len(parts) == 3 && parts[2] == "wait" && r.Method == "POST":
		action = "operations.wait"
	case isCompute && (parts[0] == "images" || parts[0] == "instanceTemplates") && (len(parts) == 1) == (r.Method == "POST"):
		action = parts[0] + "." + verb
	case isObject, isUpload:
		action = "objects." + verb
	default:
		return bad("no such resource")
	}
	if !isUpload || r.Method == "POST" {
		p.actions = append(p.actions, action)
	}
	nth := p.count[action]
	p.count[action]++
	if p.fault != nil {
		if status := p.fault(action, nth); status != 0 {
			return action, status, "as the test wants"
		}
	}
	if err := parameters(r.URL.Query(), "uploadType", "name", "upload_id"); err != nil {
		return bad("%v", err)
	}
	begin := func(what string) (string, int, any) {
		p.next++
		name := fmt.Sprintf("operation-%d", p.next)
		p.pending[name] = what
		return action, http.StatusOK, compute.Operation{Name: name, Status: "RUNNING"}
	}
	missing := func() (string, int, any) { return action, http.StatusNotFound, "not found" }
	switch action {
	case "operations.wait":
		what, ok := p.pending[parts[1]]
		if !ok {
			return missing()
		}
		if what == p.broken {
			p.pending[parts[1]] = ""
			return action, http.StatusOK, compute.Operation{Name: parts[1], Status: "DONE", Error: &compute.OperationError{
				Errors: []*compute.OperationErrorErrors{{Code: "QUOTA_EXCEEDED", Message: "as the test wants"}},
			}}
		}
		if !strings.HasSuffix(what, "!") { // the first time it is still running
			p.pending[parts[1]] += "!"
			return action, http.StatusOK, compute.Operation{Name: parts[1], Status: "RUNNING"}
		}
		return action, http.StatusOK, compute.Operation{Name: parts[1], Status: "DONE"}
	case "images.get":
		if i, ok := p.images[parts[1]]; ok {
			return action, http.StatusOK, i
		}
		return missing()
	case "images.delete":
		if _, ok := p.images[parts[1]]; !ok {
			return missing()
		}
		delete(p.images, parts[1])
		return begin("images.delete")
	case "images.insert":
		image := new(compute.Image)
		if err := strict(body, image); err != nil {
			return bad("%v", err)
		}
		name, ok := strings.CutPrefix(image.RawDisk.Source, "https://storage.googleapis.com/my-bucket/")
		if _, there := p.objects[name]; !ok || !there {
			return bad("no disk lies at %s", image.RawDisk.Source)
		}
		image.Status = "READY"
		p.images[image.Name] = image
		return begin("images.insert")
	case "instanceTemplates.get":
		if i, ok := p.templates[parts[1]]; ok {
			return action, http.StatusOK, i
		}
		return missing()
	case "instanceTemplates.delete":
		if _, ok := p.templates[parts[1]]; !ok {
			return missing()
		}
		delete(p.templates, parts[1])
		return begin("instanceTemplates.delete")
	case "instanceTemplates.insert":
		template := new(compute.InstanceTemplate)
		if err := strict(body, template); err != nil {
			return bad("%v", err)
		}
		source := template.Properties.Disks[0].InitializeParams.SourceImage
		if _, ok := p.images[source[strings.LastIndex(source, "/")+1:]]; !ok || !strings.HasPrefix(source, "projects/my-project/global/images/") {
			return bad("there is no image %s", source)
		}
		p.templates[template.Name] = template
		return begin("instanceTemplates.insert")
	case "objects.delete":
		name, err := url.PathUnescape(object)
		if _, ok := p.objects[name]; !ok || err != nil {
			return missing()
		}
		delete(p.objects, name)
		return action, http.StatusNoContent, map[string]any{}
	case "objects.insert":
		return p.upload(action, r, body)
	}
	return bad("no such action")
}

// upload takes an object in one request with two parts, or in pieces.
func (p *project) upload(action string, r *http.Request, body []byte) (string, int, any) {
	bad := func(err error) (string, int, any) { return action, http.StatusBadRequest, err }
	meta := new(storage.Object)
	switch kind := r.URL.Query().Get("uploadType"); {
	case kind == "multipart":
		_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil {
			return bad(err)
		}
		reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
		var parts [][]byte
		for range 2 {
			part, err := reader.NextPart()
			if err != nil {
				return bad(err)
			}
			text, err := io.ReadAll(part)
			if err != nil {
				return bad(err)
			}
			parts = append(parts, text)
		}
		if err := strict(parts[0], meta); err != nil {
			return bad(err)
		}
		return p.store(action, &upload{meta, parts[1]})
	case kind == "resumable" && r.URL.Query().Get("upload_id") == "":
		if err := strict(body, meta); err != nil {
			return bad(err)
		}
		p.next++
		id := fmt.Sprint("upload-", p.next)
		p.uploads[id] = &upload{object: meta}
		return action, http.StatusOK, http.Header{"Location": {p.url + r.URL.Path + "?uploadType=resumable&upload_id=" + id}}
	}
	u := p.uploads[r.URL.Query().Get("upload_id")]
	if u == nil {
		return bad(fmt.Errorf("an upload that was not begun"))
	}
	u.data = append(u.data, body...)
	if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") {
		return action, http.StatusOK, http.Header{"X-Http-Status-Code-Override": {"308"}}
	}
	return p.store(action, u)
}

func (p *project) store(action string, u *upload) (string, int, any) {
	sum := crc32.Checksum(u.data, crc32.MakeTable(crc32.Castagnoli))
	if u.object.Crc32c != base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)) {
		return action, http.StatusBadRequest, "the object has another checksum"
	}
	p.objects[u.object.Name] = u.data
	return action, http.StatusOK, u.object
}
