package gcp

import (
	"context"
	"net/http"
	"path"
	"regexp"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"

	"github.com/strongroom/strongroom/internal/launch"
)

// Recording gives clients that write every call down and send none. Their answers are those of a project in which nothing of
// this exists.
func Recording(ctx context.Context, calls *launch.Calls) (Clients, error) {
	missing := func(*http.Request, int) (int, http.Header, any) {
		return http.StatusNotFound, nil, map[string]any{"error": googleapi.Error{Code: http.StatusNotFound, Message: "not found"}}
	}
	// What was inserted is there when it is asked for the second time.
	made := func(r *http.Request, nth int) (int, http.Header, any) {
		if nth == 0 {
			return missing(r, nth)
		}
		return http.StatusOK, nil, compute.Image{Name: path.Base(r.URL.Path), Status: ready, SelfLink: "https://" + r.URL.Host + r.URL.Path}
	}
	operation := func(*http.Request, int) (int, http.Header, any) {
		return http.StatusOK, nil, compute.Operation{Name: "${operation}", Status: done}
	}
	ok := func(*http.Request, int) (int, http.Header, any) { return http.StatusOK, nil, map[string]any{} }
	// A large disk goes in pieces, to where the first answer says; that they were sent is not worth a line.
	const pieces = "/upload/dry-run"
	upload := func(r *http.Request, _ int) (int, http.Header, any) {
		return http.StatusOK, http.Header{"Location": {"https://" + r.URL.Host + pieces}}, map[string]any{}
	}
	routes := []launch.Route{
		{Method: "GET", Path: regexp.MustCompile(`/global/images/[^/]+$`), Action: "images.get", Answer: made},
		{Method: "POST", Path: regexp.MustCompile(`^/upload/storage/v1/b/[^/]+/o$`), Action: "objects.insert", Answer: upload},
		{Method: "POST", Path: regexp.MustCompile(`^` + pieces + `$`), Answer: ok},
		{Method: "POST", Path: regexp.MustCompile(`/global/images$`), Action: "images.insert", Answer: operation},
		{Method: "DELETE", Path: regexp.MustCompile(`^/storage/v1/b/[^/]+/o/`), Action: "objects.delete", Answer: ok},
		{Method: "GET", Path: regexp.MustCompile(`/global/instanceTemplates/[^/]+$`), Action: "instanceTemplates.get", Answer: missing},
		{Method: "POST", Path: regexp.MustCompile(`/global/instanceTemplates$`), Action: "instanceTemplates.insert", Answer: operation},
	}
	return NewClients(ctx, &http.Client{Transport: &launch.RESTRecorder{Calls: calls, Routes: routes}}, "")
}
