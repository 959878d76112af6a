package azure_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v6"

	"context"

	"github.com/strongroom/strongroom/internal/launch/azure"
)

// group is a server that speaks as Azure's resource manager and its page blobs do. What it is sent must survive a way through the
// SDK's own types, so that a field which these do not have is refused.
type group struct {
	t       *testing.T
	url     string
	mu      sync.Mutex
	there   map[string]map[string]any // resources by the end of their path
	pages   map[string][]byte         // of a disk, by its name
	granted map[string]bool
	actions []string
	count   map[string]int
	fault   func(action string, nth int) int
	broken  string // an action whose resource ends as failed
}

func newGroup(t *testing.T) *group {
	g := &group{t: t, there: map[string]map[string]any{}, pages: map[string][]byte{}, granted: map[string]bool{}, count: map[string]int{}}
	s := httptest.NewTLSServer(g)
	t.Cleanup(s.Close)
	g.url = s.URL
	transport = s.Client()
	return g
}

var transport *http.Client

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (g *group) clients() azure.Clients {
	c, err := azure.NewClients(subscription, token{}, policy.ClientOptions{
		Cloud: cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: g.url, Audience: "https://management.core.windows.net"},
		}},
		Transport: transport, Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	c.Poll = time.Millisecond
	return c
}

// wrote lists what was no mere question; the pages of a disk once.
func (g *group) wrote() string {
	var list []string
	for _, a := range g.actions {
		if !strings.HasSuffix(a, ".get") && (a != "pages.put" || !strings.HasSuffix(strings.Join(list, " "), a)) {
			list = append(list, a)
		}
	}
	return strings.Join(list, " ")
}

func (g *group) left() string {
	n := map[string]int{}
	for path := range g.there {
		n[kindOf(path)]++
	}
	return fmt.Sprint(n["disks"], n["images"], n["versions"], n["virtualMachineScaleSets"])
}

var resource = regexp.MustCompile(`^/subscriptions/` + subscription + `/resourceGroups/vault/providers/Microsoft\.Compute/(.+)$`)

func kindOf(path string) string {
	parts := strings.Split(path, "/")
	if len(parts)%2 == 1 { // an action
		parts = parts[:len(parts)-1]
	}
	return parts[len(parts)-2]
}

// versionsOf are the API versions in which the SDK knows a kind.
var versionsOf = map[string]string{"disks": "2024-03-02", "images": "2024-03-03", "versions": "2024-03-03", "virtualMachineScaleSets": "2024-11-01"}

func (g *group) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cancelled
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	action, status, answer := g.serve(r, body)
	if status == http.StatusBadRequest {
		g.t.Errorf("%s %s %s: %v", action, r.Method, r.URL.Path, answer)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "0")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if status >= 400 {
		answer = map[string]any{"error": map[string]any{"code": "Refused", "message": fmt.Sprint(answer)}}
	}
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (g *group) serve(r *http.Request, body []byte) (action string, status int, answer any) {
	bad := func(format string, args ...any) (string, int, any) {
		return action, http.StatusBadRequest, fmt.Sprintf(format, args...)
	}
	count := func() int {
		g.actions = append(g.actions, action)
		n := g.count[action]
		g.count[action]++
		if g.fault != nil {
			return g.fault(action, n)
		}
		return 0
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/pages/"); ok {
		action = "pages.put"
		if status := count(); status != 0 {
			return action, status, "as the test wants"
		}
		return g.put(action, name, r, body)
	}
	m := resource.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return bad("no such resource")
	}
	path, kind := m[1], kindOf(m[1])
	verb := map[string]string{"GET": "get", "PUT": "put", "PATCH": "patch", "DELETE": "delete", "POST": "post"}[r.Method]
	action = kind + "." + verb
	if verb == "post" {
		action = kind + "." + path[strings.LastIndex(path, "/")+1:]
	}
	if status := count(); status != 0 {
		return action, status, "as the test wants"
	}
	if r.Header.Get("Authorization") != "Bearer token" {
		return bad("without a token")
	}
	if q := r.URL.Query(); len(q) != 1 || q.Get("api-version") != versionsOf[kind] {
		return bad("the parameters are %v", q)
	}
	there, ok := g.there[path]
	missing := func() (string, int, any) { return action, http.StatusNotFound, "not found" }
	switch verb {
	case "get":
		if !ok {
			return missing()
		}
		return action, http.StatusOK, there
	case "delete":
		if !ok {
			return action, http.StatusNoContent, nil
		}
		delete(g.there, path)
		return action, http.StatusOK, nil
	case "put":
		sent, err := strict(kind, body)
		if err != nil {
			return bad("%v", err)
		}
		state := "Succeeded"
		if action == g.broken {
			state = "Failed"
		}
		sent["id"] = r.URL.Path
		sent["properties"].(map[string]any)["provisioningState"] = state
		if kind == "versions" {
			source := sent["properties"].(map[string]any)["storageProfile"].(map[string]any)["source"].(map[string]any)["id"].(string)
			name := source[strings.LastIndex(source, "/")+1:]
			if g.there["disks/"+name] == nil || g.granted[name] || g.pages[name] == nil {
				return bad("the disk %s is not ready", source)
			}
		}
		g.there[path] = sent
		return action, http.StatusOK, sent
	case "patch":
		update := new(armcompute.VirtualMachineScaleSetUpdate)
		if !ok {
			return missing()
		}
		if err := survives(body, update); err != nil {
			return bad("%v", err)
		}
		var sent map[string]any
		if err := json.Unmarshal(body, &sent); err != nil {
			return bad("%v", err)
		}
		merge(there, sent)
		return action, http.StatusOK, there
	case "post":
		name := strings.Split(path, "/")[1]
		if !strings.HasSuffix(path, "GetAccess") || g.there["disks/"+name] == nil {
			return missing()
		}
		if strings.HasSuffix(path, "/endGetAccess") {
			g.granted[name] = false
			return action, http.StatusOK, nil
		}
		if err := survives(body, new(armcompute.GrantAccessData)); err != nil {
			return bad("%v", err)
		}
		g.granted[name] = true
		return action, http.StatusOK, map[string]any{"accessSAS": g.url + "/pages/" + name + "?sv=2024&sig=SECRET%2BSIGNATURE"}
	}
	return bad("no such action")
}

// put takes pages, as Azure's page blobs do: whole sectors with their checksum, within what the disk was made for.
func (g *group) put(action, name string, r *http.Request, body []byte) (string, int, any) {
	bad := func(format string, args ...any) (string, int, any) {
		return action, http.StatusBadRequest, fmt.Sprintf(format, args...)
	}
	q := r.URL.Query()
	if !g.granted[name] { // pages may come late, after the access has ended
		return action, http.StatusForbidden, "no right to write"
	}
	if q.Get("sig") != "SECRET+SIGNATURE" || q.Get("comp") != "page" || r.Header.Get("x-ms-page-write") != "update" || r.Method != http.MethodPut {
		return bad("no request that writes pages: %v", q)
	}
	var from, to int64
	if _, err := fmt.Sscanf(r.Header.Get("x-ms-range")+r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil || to-from+1 != int64(len(body)) || from%512 != 0 || len(body)%512 != 0 || len(body) > 4<<20 {
		return bad("the range is %s %s of %d bytes", r.Header.Get("x-ms-range"), r.Header.Get("Range"), len(body))
	}
	size := int64(g.there["disks/"+name]["properties"].(map[string]any)["creationData"].(map[string]any)["uploadSizeBytes"].(float64))
	if to >= size {
		return bad("behind the end of the disk")
	}
	sum := binary.LittleEndian.AppendUint64(nil, crc64.Checksum(body, crc64.MakeTable(0x9A6C9329AC4BC9B5)))
	if r.Header.Get("x-ms-content-crc64") != base64.StdEncoding.EncodeToString(sum) {
		return bad("another checksum")
	}
	if g.pages[name] == nil {
		g.pages[name] = make([]byte, size)
	}
	copy(g.pages[name][from:], body)
	return action, http.StatusCreated, nil
}

// survives decodes into one of the SDK's types and encodes again: what the type does not have gets lost, and is an error.
func survives(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return err
	}
	back, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var a, b any
	if err := json.Unmarshal(text, &a); err != nil {
		return err
	}
	if err := json.Unmarshal(back, &b); err != nil {
		return err
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		return fmt.Errorf("%T has no place for all of %s", into, text)
	}
	return nil
}

func strict(kind string, body []byte) (map[string]any, error) {
	into := map[string]any{
		"disks": new(armcompute.Disk), "images": new(armcompute.GalleryImage), "versions": new(armcompute.GalleryImageVersion),
		"virtualMachineScaleSets": new(armcompute.VirtualMachineScaleSet),
	}[kind]
	if err := survives(body, into); err != nil {
		return nil, err
	}
	var sent map[string]any
	return sent, json.Unmarshal(body, &sent)
}

// merge is what a PATCH does.
func merge(into, from map[string]any) {
	for key, value := range from {
		inner, isMap := value.(map[string]any)
		old, wasMap := into[key].(map[string]any)
		if isMap && wasMap && key != "tags" {
			merge(old, inner)
		} else {
			into[key] = value
		}
	}
}
