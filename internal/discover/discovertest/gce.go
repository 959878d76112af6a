package discovertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// GCE is a project of Google Cloud, with the metadata service of one instance.
type GCE struct {
	Project   string
	Own       string // number of the instance that asks
	NoAccount bool   // it has no service account
	Denied    bool   // the account may not list instances
	Instances []GCEInstance
	PageSize  int // 0: what the request asks for
}

// GCEInstance is an instance of Google Cloud.
type GCEInstance struct {
	ID, Zone, Status string // status "": RUNNING
	Tags             []string
	IPs              []string // one for each interface
}

// GCEToken is that of the service account.
const GCEToken = "ya29.PLANTED-EXAMPLE-TOKEN"

// Metadata is the metadata service.
func (g *GCE) Metadata() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google", r.Host != "metadata.google.internal":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/computeMetadata/v1/instance/id":
			fmt.Fprint(w, g.Own)
		case r.URL.Path == "/computeMetadata/v1/project/project-id":
			fmt.Fprint(w, g.Project)
		case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/token" && !g.NoAccount:
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, GCEToken)
		default:
			http.NotFound(w, r)
		}
	})
}

type object = map[string]any

// API is the Compute Engine API.
func (g *GCE) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		max, _ := strconv.Atoi(q.Get("maxResults"))
		switch {
		case r.Header.Get("Authorization") != "Bearer "+GCEToken:
			GCERefusal(w, http.StatusUnauthorized, "authError", "Request had invalid authentication credentials.")
		case g.Denied:
			GCERefusal(w, http.StatusForbidden, "forbidden", "Required 'compute.instances.list' permission for 'projects/"+g.Project+"'")
		case r.Method != http.MethodGet, r.URL.EscapedPath() != "/compute/v1/projects/"+url.PathEscape(g.Project)+"/aggregated/instances":
			GCERefusal(w, http.StatusNotFound, "notFound", "The resource was not found")
		case max < 0, max > 500, q.Get("returnPartialSuccess") != "true":
			GCERefusal(w, http.StatusBadRequest, "invalid", "Invalid value")
		default:
			if g.PageSize > 0 {
				max = g.PageSize
			}
			from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("pageToken"), "page="))
			_ = json.NewEncoder(w).Encode(g.page(from, max, q.Get("fields")))
		}
	})
}

// page is an InstanceAggregatedList with the fields that were asked for.
func (g *GCE) page(from, max int, fields string) object {
	end := min(from+max, len(g.Instances))
	items := object{"zones/us-east1-b": object{"warning": object{"code": "NO_RESULTS_ON_PAGE"}}}
	for _, i := range g.Instances[from:end] {
		if i.Status == "" {
			i.Status = "RUNNING"
		}
		var interfaces []object
		for _, ip := range i.IPs {
			interfaces = append(interfaces, object{"networkIP": ip})
		}
		whole := object{"id": i.ID, "status": i.Status, "zone": "https://www.googleapis.com/compute/v1/projects/" + g.Project + "/zones/" + i.Zone,
			"tags": object{"items": i.Tags}, "networkInterfaces": interfaces}
		_, inner, _ := strings.Cut(strings.TrimSuffix(fields, ")"), "items/*/instances(")
		shown := object{}
		for field := range strings.SplitSeq(inner, ",") {
			name, _, _ := strings.Cut(field, "/")
			shown[name] = whole[name]
		}
		scope := "zones/" + i.Zone
		list, _ := items[scope].(object)
		if list == nil {
			list = object{"instances": []object{}}
		}
		list["instances"] = append(list["instances"].([]object), shown)
		items[scope] = list
	}
	page := object{"items": items}
	if end < len(g.Instances) && slices.Contains(strings.Split(fields, ","), "nextPageToken") {
		page["nextPageToken"] = fmt.Sprintf("page=%d", end)
	}
	return page
}

// GCERefusal is an error of Google's APIs in their own form.
func GCERefusal(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"error": object{"code": status, "message": message,
		"errors": []object{{"message": message, "domain": "global", "reason": reason}}}})
}
