package azure

import (
	"net/http"
	"regexp"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/internal/launch"
)

// Recording gives clients that write every call down and send none. Their answers are those of a resource group in which
// nothing of this exists but the gallery. The pages of the disk are not written down: they are the file, 4 MiB at a time.
func Recording(subscription string, calls *launch.Calls) (Clients, error) {
	missing := func(*http.Request, int) (int, http.Header, any) {
		return http.StatusNotFound, nil, map[string]any{"error": map[string]any{"code": "ResourceNotFound", "message": "not found"}}
	}
	succeeded := func(r *http.Request, _ int) (int, http.Header, any) {
		return http.StatusOK, nil, map[string]any{"id": r.URL.Path, "properties": map[string]any{"provisioningState": "Succeeded"}}
	}
	access := func(*http.Request, int) (int, http.Header, any) {
		return http.StatusOK, nil, map[string]any{"accessSAS": "https://" + pagesHost + "/disk"}
	}
	none := func(*http.Request, int) (int, http.Header, any) { return http.StatusOK, nil, nil }
	page := func(*http.Request, int) (int, http.Header, any) { return http.StatusCreated, nil, nil }
	const compute = `/providers/Microsoft\.Compute/`
	routes := []launch.Route{
		{Method: "GET", Path: regexp.MustCompile(compute + `galleries/[^/]+/images/[^/]+$`), Action: "galleryImages.get", Answer: missing},
		{Method: "PUT", Path: regexp.MustCompile(compute + `galleries/[^/]+/images/[^/]+$`), Action: "galleryImages.createOrUpdate", Answer: succeeded},
		{Method: "GET", Path: regexp.MustCompile(compute + `galleries/[^/]+/images/[^/]+/versions/[^/]+$`), Action: "galleryImageVersions.get", Answer: missing},
		{Method: "PUT", Path: regexp.MustCompile(compute + `galleries/[^/]+/images/[^/]+/versions/[^/]+$`), Action: "galleryImageVersions.createOrUpdate", Answer: succeeded},
		{Method: "PUT", Path: regexp.MustCompile(compute + `disks/[^/]+$`), Action: "disks.createOrUpdate", Answer: succeeded},
		{Method: "POST", Path: regexp.MustCompile(compute + `disks/[^/]+/beginGetAccess$`), Action: "disks.grantAccess", Answer: access},
		{Method: "PUT", Path: regexp.MustCompile(`^/disk$`), Answer: page},
		{Method: "POST", Path: regexp.MustCompile(compute + `disks/[^/]+/endGetAccess$`), Action: "disks.revokeAccess", Answer: none},
		{Method: "DELETE", Path: regexp.MustCompile(compute + `disks/[^/]+$`), Action: "disks.delete", Answer: none},
		{Method: "GET", Path: regexp.MustCompile(compute + `virtualMachineScaleSets/[^/]+$`), Action: "virtualMachineScaleSets.get", Answer: missing},
		{Method: "PUT", Path: regexp.MustCompile(compute + `virtualMachineScaleSets/[^/]+$`), Action: "virtualMachineScaleSets.createOrUpdate", Answer: succeeded},
	}
	recorder := &launch.RESTRecorder{Calls: calls, Routes: routes}
	return NewClients(subscription, nobody{}, policy.ClientOptions{
		Cloud: public, Transport: sender{recorder}, Retry: policy.RetryOptions{MaxRetries: -1},
	})
}

// pagesHost is where a dry run would upload to.
const pagesHost = "upload.invalid"
