package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// The wire: Compute Engine API v1, instances.aggregatedList; "About VM metadata" and "Authenticate workloads to Google Cloud APIs". go-discover
// lists the zones and then the instances zone by zone; the aggregated list has them all, and the zones are chosen here.

// gceFields are all that is asked for: with its metadata an instance can have hundreds of kilobytes.
const gceFields = "nextPageToken,items/*/instances(id,status,zone,tags/items,networkInterfaces/networkIP)"

// gce lists the running instances with a network tag.
func (f *Finder) gce(ctx context.Context, api api, o map[string]string) ([]string, error) {
	own, err := f.about(ctx, node.GCP, "/computeMetadata/v1/instance/id", "which instance this is", "")
	if err != nil {
		return nil, err
	}
	project := o["project_name"]
	if project == "" {
		content, err := f.about(ctx, node.GCP, "/computeMetadata/v1/project/project-id", "the project", "name it in auto_join: project_name=…")
		if err != nil {
			return nil, err
		}
		project = string(content)
	}
	token, err := f.gceToken(ctx)
	if err != nil {
		return nil, err
	}
	zones, err := regexp.Compile("^(?:" + o["zone_pattern"] + ")$")
	if err != nil {
		return nil, fmt.Errorf("zone_pattern: %w", err)
	}
	if o["zone_pattern"] == "" {
		zones = nil
	}
	found, err := gather(string(own), func(page string) (machines []machine, after string, err error) {
		query := url.Values{"fields": {gceFields}, "maxResults": {"500"}, "returnPartialSuccess": {"true"}}
		if page != "" {
			query.Set("pageToken", page)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet,
			"https://compute.googleapis.com/compute/v1/projects/"+url.PathEscape(project)+"/aggregated/instances?"+query.Encode(), http.NoBody)
		if err != nil {
			return nil, "", err
		}
		request.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
		err = api.ask(request, func(answer io.Reader) (err error) {
			machines, after, err = gceInstances(answer, o["tag_value"], zones)
			return err
		}, gceRefusal)
		return machines, after, err
	})
	if err != nil {
		return nil, gceHint(fmt.Errorf("compute.instances.list in project %s: %w", project, err))
	}
	if len(found) == 0 {
		what := fmt.Sprintf("the network tag %s in project %s", o["tag_value"], project)
		if zones != nil {
			what += ", in a zone like " + o["zone_pattern"]
		}
		return nil, nobody(what)
	}
	return found, nil
}

// gceToken is one of the instance's service account.
func (f *Finder) gceToken(ctx context.Context) (node.Secret, error) {
	content, err := f.about(ctx, node.GCP, "/computeMetadata/v1/instance/service-accounts/default/token", "the token of this instance's service account",
		"give the instance a service account that has the permission compute.instances.list")
	if err != nil {
		return node.Secret{}, err
	}
	return parseToken(content)
}

// parseToken reads an answer of OAuth, as Google's and Azure's services give it.
func parseToken(content []byte) (node.Secret, error) {
	var answer struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if json.Unmarshal(content, &answer) != nil || answer.Token == "" || !strings.EqualFold(answer.Type, "Bearer") ||
		strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return node.Secret{}, errors.New("cannot use the answer of the metadata service: it is no token of the type Bearer")
	}
	return node.NewSecret([]byte(answer.Token)), nil
}

// gceInstances reads a page: the running instances that have the tag, with the address of their first interface, as go-discover takes it.
func gceInstances(answer io.Reader, tag string, zones *regexp.Regexp) (machines []machine, after string, err error) {
	var page struct {
		NextPageToken string `json:"nextPageToken"`
		Items         map[string]struct {
			Instances []struct {
				ID     string `json:"id"`
				Status string `json:"status"`
				Zone   string `json:"zone"` // URL
				Tags   struct {
					Items []string `json:"items"`
				} `json:"tags"`
				NetworkInterfaces []struct {
					NetworkIP string `json:"networkIP"`
				} `json:"networkInterfaces"`
			} `json:"instances"`
		} `json:"items"`
	}
	if err := json.NewDecoder(answer).Decode(&page); err != nil {
		return nil, "", err
	}
	for _, scope := range slices.Sorted(maps.Keys(page.Items)) {
		for _, i := range page.Items[scope].Instances {
			zone := i.Zone[strings.LastIndexByte(i.Zone, '/')+1:]
			if i.Status != "RUNNING" || !slices.Contains(i.Tags.Items, tag) || len(i.NetworkInterfaces) == 0 || zones != nil && !zones.MatchString(zone) {
				continue
			}
			machines = append(machines, machine{i.ID, []string{i.NetworkInterfaces[0].NetworkIP}})
		}
	}
	return machines, page.NextPageToken, nil
}

// gceRefusal reads an error of Google's APIs.
func gceRefusal(body []byte) (code, said string) {
	var answer struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer)
	if len(answer.Error.Errors) > 0 {
		code = answer.Error.Errors[0].Reason
	}
	return code, answer.Error.Message
}

func gceHint(err error) error {
	var r *cloudapi.Refused
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.Code == "accessNotConfigured", r.Code == "SERVICE_DISABLED":
		return node.Hinted(err, "turn on the Compute Engine API in the project")
	case r.Code == "rateLimitExceeded", r.Status == http.StatusTooManyRequests, r.Status >= 500:
		return node.Hinted(err, "it is asked again")
	case r.Status == http.StatusForbidden, r.Status == http.StatusUnauthorized:
		return node.Hinted(err, "the instance's service account needs the permission compute.instances.list, and the instance the access scope compute-ro or cloud-platform")
	case r.Status == http.StatusNotFound:
		return node.Hinted(err, "is project_name right?")
	}
	return err
}
