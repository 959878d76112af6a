// Package awstest is a server that speaks as EC2, the EBS direct APIs and Systems Manager do, for tests. It decodes
// each request into the SDK's own types, and refuses what they do not have. Of what AWS thinks of a value it knows
// next to nothing.
package awstest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// BlockSize of the EBS direct APIs.
const BlockSize = 512 << 10

// Snapshot is one, with the blocks that were put into it.
type Snapshot struct {
	Input    *ebs.StartSnapshotInput
	Blocks   map[int32][]byte
	Complete bool
	asked    bool // once described as pending
}

// Template is a launch template.
type Template struct {
	Name     string
	Versions map[int64]*ec2.CreateLaunchTemplateVersionInput // a removed one is nil
	Default  int64
}

// Server is one account in one region.
type Server struct {
	URL string

	mu         sync.Mutex
	Snapshots  map[string]*Snapshot
	Images     map[string]*ec2.RegisterImageInput
	Templates  map[string]*Template
	Parameters map[string]*ssm.PutParameterInput
	Actions    []string // every request, in order
	// Fault may answer in place of the server: with a status, a code, and seconds for Retry-After. Status 0: it does not.
	Fault func(action string, nth int) (status int, code string)
	// Slow lets a snapshot be pending when it is first asked for.
	Slow  bool
	t     testing.TB
	next  int
	count map[string]int
}

// New starts a server for the length of a test.
func New(t testing.TB) *Server {
	s := &Server{
		t: t, Snapshots: map[string]*Snapshot{}, Images: map[string]*ec2.RegisterImageInput{}, Templates: map[string]*Template{},
		Parameters: map[string]*ssm.PutParameterInput{}, count: map[string]int{},
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Forget clears the list of requests and their numbers.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Actions, s.count = nil, map[string]int{}
}

// Wrote lists the requests that were not mere questions, PutSnapshotBlock once.
func (s *Server) Wrote() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, a := range s.Actions {
		if !strings.HasPrefix(a, "Describe") && !strings.HasPrefix(a, "Get") && (a != "PutSnapshotBlock" || !slices.Contains(list, a)) {
			list = append(list, a)
		}
	}
	return list
}

// AddImage puts an AMI of another builder there.
func (s *Server) AddImage(id string) {
	s.Images[id] = &ec2.RegisterImageInput{RootDeviceName: ptr("/dev/sda1"), BootMode: types.BootModeValuesUefi}
}

func ptr[T any](v T) *T { return &v }

// refusal is an answer that is an error.
type refusal struct {
	status int
	code   string
	text   string
}

func (r refusal) Error() string { return r.code + ": " + r.text }

func wrong(format string, args ...any) error {
	return refusal{http.StatusBadRequest, "ValidationError", fmt.Sprintf(format, args...)}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the test has cancelled the request in the middle of it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	action, serve := s.route(r, body)
	s.Actions = append(s.Actions, action)
	nth := s.count[action]
	s.count[action]++
	ec2Protocol := r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
	var answer string
	if s.Fault != nil {
		if status, code := s.Fault(action, nth); status != 0 {
			err = refusal{status, code, "as the test wants"}
		}
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		err = refusal{http.StatusForbidden, "AuthFailure", "the request is not signed"}
	}
	if err == nil {
		answer, err = serve()
	}
	if err != nil {
		refused, ok := err.(refusal)
		if !ok {
			refused = refusal{http.StatusBadRequest, "ValidationError", err.Error()}
		}
		if refused.code == "ValidationError" {
			s.t.Errorf("%s: %s", action, refused.text)
		}
		if refused.status == http.StatusTooManyRequests || refused.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "0")
		}
		w.Header().Set("X-Amzn-Errortype", refused.code)
		w.WriteHeader(refused.status)
		if ec2Protocol {
			fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r</RequestID></Response>", refused.code, refused.text)
		} else {
			fmt.Fprintf(w, `{"__type":%q,"message":%q}`, refused.code, refused.text)
		}
		return
	}
	if ec2Protocol {
		fmt.Fprintf(w, `<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">%s</%[1]sResponse>`, action, answer)
		return
	}
	_, _ = io.WriteString(w, answer)
}

// route names the action of a request, and gives what answers it.
func (s *Server) route(r *http.Request, body []byte) (string, func() (string, error)) {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		action, ok := strings.CutPrefix(target, "AmazonSSM.")
		if !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			return target, func() (string, error) { return "", wrong("no such service") }
		}
		return action, func() (string, error) { return s.ssm(action, body) }
	}
	if strings.HasPrefix(r.URL.Path, "/snapshots") {
		return s.ebs(r, body)
	}
	form, err := url.ParseQuery(string(body))
	action := form.Get("Action")
	return action, func() (string, error) {
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/" || form.Get("Version") != "2016-11-15" {
			return "", wrong("no request of EC2's query protocol: %v", err)
		}
		return s.ec2(action, form)
	}
}

func strict(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return wrong("%v", err)
	}
	return nil
}

func (s *Server) ssm(action string, body []byte) (string, error) {
	switch action {
	case "GetParameter":
		var in ssm.GetParameterInput
		if err := strict(body, &in); err != nil {
			return "", err
		}
		p, ok := s.Parameters[*in.Name]
		if !ok {
			return "", refusal{http.StatusBadRequest, "ParameterNotFound", *in.Name}
		}
		text, err := json.Marshal(map[string]any{"Parameter": map[string]any{"Name": p.Name, "Value": p.Value, "Type": p.Type, "DataType": p.DataType}})
		return string(text), err
	case "PutParameter":
		in := new(ssm.PutParameterInput)
		if err := strict(body, in); err != nil {
			return "", err
		}
		if in.DataType == nil || *in.DataType != "aws:ec2:image" || !slices.Contains(in.Type.Values(), in.Type) {
			return "", wrong("a parameter of another type")
		}
		if _, ok := s.Images[*in.Value]; !ok {
			return "", wrong("a parameter for %s, which is no image", *in.Value)
		}
		s.Parameters[*in.Name] = in
		return `{"Version":1,"Tier":"Standard"}`, nil
	}
	return "", wrong("SSM has no action %q", action)
}

// ebs answers the EBS direct APIs: JSON in the body, names in the path, and everything else in headers.
func (s *Server) ebs(r *http.Request, body []byte) (string, func() (string, error)) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	headers := func(known ...string) error {
		for name := range r.Header {
			lower := strings.ToLower(name)
			usual := slices.Contains([]string{"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}, lower)
			if strings.HasPrefix(lower, "x-amz-") && !usual && !slices.Contains(known, lower) {
				return wrong("there is no header %s", name)
			}
		}
		return nil
	}
	switch {
	case r.Method == http.MethodPost && len(parts) == 1:
		return "StartSnapshot", func() (string, error) {
			in := new(ebs.StartSnapshotInput)
			if err := headers(); err != nil {
				return "", err
			}
			if err := strict(body, in); err != nil {
				return "", err
			}
			if in.ClientToken == nil || in.VolumeSize == nil || *in.VolumeSize < 1 || in.KmsKeyArn != nil && (in.Encrypted == nil || !*in.Encrypted) {
				return "", wrong("StartSnapshot without what it needs")
			}
			id := s.id("snap")
			s.Snapshots[id] = &Snapshot{Input: in, Blocks: map[int32][]byte{}}
			return fmt.Sprintf(`{"SnapshotId":%q,"BlockSize":%d,"Status":"pending","VolumeSize":%d}`, id, BlockSize, *in.VolumeSize), nil
		}
	case r.Method == http.MethodPut && len(parts) == 4 && parts[2] == "blocks":
		return "PutSnapshotBlock", func() (string, error) {
			if err := headers("x-amz-data-length", "x-amz-checksum", "x-amz-checksum-algorithm", "x-amz-progress"); err != nil {
				return "", err
			}
			snapshot, index, err := s.pending(parts[1], parts[3])
			if err != nil {
				return "", err
			}
			sum := sha256.Sum256(body)
			if len(body) != BlockSize || r.Header.Get("x-amz-Data-Length") != strconv.Itoa(BlockSize) || r.Header.Get("x-amz-Checksum-Algorithm") != "SHA256" ||
				r.Header.Get("x-amz-Checksum") != base64.StdEncoding.EncodeToString(sum[:]) {
				return "", wrong("block %d does not have the length or the checksum that it says", index)
			}
			snapshot.Blocks[int32(index)] = body
			return "{}", nil
		}
	case r.Method == http.MethodPost && len(parts) == 3 && parts[1] == "completion":
		return "CompleteSnapshot", func() (string, error) {
			if err := headers("x-amz-changedblockscount", "x-amz-checksum", "x-amz-checksum-algorithm", "x-amz-checksum-aggregation-method"); err != nil {
				return "", err
			}
			snapshot, _, err := s.pending(parts[2], "0")
			if err != nil {
				return "", err
			}
			if r.Header.Get("x-amz-ChangedBlocksCount") != strconv.Itoa(len(snapshot.Blocks)) {
				return "", wrong("%s blocks were announced, and %d sent", r.Header.Get("x-amz-ChangedBlocksCount"), len(snapshot.Blocks))
			}
			indexes := make([]int32, 0, len(snapshot.Blocks))
			for i := range snapshot.Blocks {
				indexes = append(indexes, i)
			}
			slices.Sort(indexes)
			whole := sha256.New()
			for _, i := range indexes {
				sum := sha256.Sum256(snapshot.Blocks[i])
				whole.Write(sum[:])
			}
			if r.Header.Get("x-amz-Checksum") != base64.StdEncoding.EncodeToString(whole.Sum(nil)) ||
				r.Header.Get("x-amz-Checksum-Algorithm") != "SHA256" || r.Header.Get("x-amz-Checksum-Aggregation-Method") != "LINEAR" {
				return "", wrong("the checksum of the whole is another")
			}
			snapshot.Complete = true
			return `{"Status":"pending"}`, nil
		}
	}
	return r.Method + " " + r.URL.Path, func() (string, error) { return "", wrong("the EBS direct APIs have no such action") }
}

// pending finds a snapshot that takes blocks, and the number of one.
func (s *Server) pending(id, index string) (*Snapshot, int64, error) {
	snapshot, ok := s.Snapshots[id]
	if !ok { // a block may come late, after its snapshot has been removed
		return nil, 0, refusal{http.StatusNotFound, "ResourceNotFoundException", id}
	}
	n, err := strconv.ParseInt(index, 10, 32)
	if snapshot.Complete || err != nil || n < 0 || n*BlockSize >= *snapshot.Input.VolumeSize<<30 {
		return nil, 0, wrong("no snapshot %s that waits for block %s", id, index)
	}
	return snapshot, n, nil
}

func (s *Server) id(kind string) string {
	s.next++
	return fmt.Sprintf("%s-%017x", kind, s.next)
}
