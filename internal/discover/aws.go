package discover

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// The wire: EC2 API reference, DescribeInstances (version 2016-11-15) and "Common query parameters"; EC2 user guide, "Instance metadata
// categories" and "Retrieve security credentials".

// awsPlace is where to ask, and as whom.
type awsPlace struct {
	endpoint, region, own string
	keys                  sigv4.Keys
}

// aws lists the running instances with a tag.
func (f *Finder) aws(ctx context.Context, api api, o map[string]string) ([]string, error) {
	place, err := f.awsPlace(ctx, o)
	if err != nil {
		return nil, err
	}
	found, err := gather(place.own, func(token string) (machines []machine, after string, err error) {
		query := url.Values{
			"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "MaxResults": {"200"},
			"Filter.1.Name": {"tag:" + o["tag_key"]}, "Filter.1.Value.1": {o["tag_value"]},
			"Filter.2.Name": {"instance-state-name"}, "Filter.2.Value.1": {"running"},
		}
		if token != "" {
			query.Set("NextToken", token)
		}
		body := []byte(query.Encode())
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, place.endpoint, bytes.NewReader(body))
		if err != nil {
			return nil, "", err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		sigv4.Sign(request, sigv4.Digest(body), place.keys, place.region, "ec2", f.now())
		err = api.ask(request, func(answer io.Reader) (err error) {
			machines, after, err = ec2Instances(answer, o["addr_type"])
			return err
		}, ec2Refusal)
		return machines, after, err
	})
	if err != nil {
		return nil, awsHint(fmt.Errorf("ec2:DescribeInstances in %s: %w", place.region, err))
	}
	if len(found) == 0 {
		return nil, nobody(fmt.Sprintf("the tag %s=%s in %s, and an address of type %s", o["tag_key"], o["tag_value"], place.region, addrType(o["addr_type"])))
	}
	return found, nil
}

func (f *Finder) awsPlace(ctx context.Context, o map[string]string) (awsPlace, error) {
	var place awsPlace
	own, err := f.about(ctx, node.AWS, "/latest/meta-data/instance-id", "which instance this is", "")
	if err != nil {
		return place, err
	}
	place.own, place.region, place.endpoint = string(own), o["region"], o["endpoint"]
	if place.region == "" {
		region, err := f.about(ctx, node.AWS, "/latest/meta-data/placement/region", "the region", "name one in auto_join: region=eu-central-1")
		if err != nil {
			return place, err
		}
		place.region = string(region)
	}
	if place.endpoint == "" {
		// amazonaws.com; other partitions have others.
		domain, err := f.about(ctx, node.AWS, "/latest/meta-data/services/domain", "the domain of the region", "name the API's host in auto_join: endpoint=https://…")
		if err != nil {
			return place, err
		}
		place.endpoint = "https://ec2." + place.region + "." + string(domain)
	}
	// What the service says becomes part of a URL.
	u, err := url.Parse(place.endpoint)
	if err != nil || !regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]+)?$`).MatchString(u.Host) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return place, fmt.Errorf("cannot use the answer of the metadata service: %.80q is no host of an API", place.endpoint)
	}
	place.endpoint = "https://" + u.Host + "/"
	place.keys, err = f.RoleKeys(ctx, "ec2:DescribeInstances")
	return place, err
}

// RoleKeys are the temporary credentials of this AWS instance's role; may says what it has to be able to do.
func (f *Finder) RoleKeys(ctx context.Context, may string) (sigv4.Keys, error) {
	const path = "/latest/meta-data/iam/security-credentials/"
	noRole := "give the instance a profile whose role may do " + may
	name, err := f.about(ctx, node.AWS, path, "the role of this instance", noRole)
	if err != nil {
		return sigv4.Keys{}, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(name)), "\n")
	content, err := f.about(ctx, node.AWS, path+url.PathEscape(role), "the credentials of its role", noRole)
	if err != nil {
		return sigv4.Keys{}, err
	}
	keys, err := parseRoleKeys(content)
	if err != nil {
		return sigv4.Keys{}, node.Hinted(fmt.Errorf("cannot learn the credentials of its role: %w", err), "does the role still exist, and may EC2 assume it?")
	}
	return keys, nil
}

func parseRoleKeys(content []byte) (sigv4.Keys, error) {
	var answer struct{ Code, AccessKeyId, SecretAccessKey, Token string } //nolint:revive // The service's spelling.
	if json.Unmarshal(content, &answer) != nil {
		return sigv4.Keys{}, errors.New("the metadata service answers with something else") // an error of JSON may quote
	}
	if answer.Code != "Success" || answer.AccessKeyId == "" || answer.SecretAccessKey == "" || answer.Token == "" {
		return sigv4.Keys{}, fmt.Errorf("the metadata service answers with code %.80q", answer.Code)
	}
	return sigv4.Keys{ID: answer.AccessKeyId, Secret: node.NewSecret([]byte(answer.SecretAccessKey)), Token: node.NewSecret([]byte(answer.Token))}, nil
}

// ec2Instances reads a page: the running instances with their addresses of a type, as go-discover takes them.
func ec2Instances(answer io.Reader, kind string) (machines []machine, after string, err error) {
	var page struct {
		XMLName   xml.Name `xml:"DescribeInstancesResponse"`
		Instances []struct {
			ID      string   `xml:"instanceId"`
			State   string   `xml:"instanceState>name"`
			Private string   `xml:"privateIpAddress"`
			Public  string   `xml:"ipAddress"`
			IPv6    []string `xml:"networkInterfaceSet>item>ipv6AddressesSet>item>ipv6Address"`
		} `xml:"reservationSet>item>instancesSet>item"`
		NextToken string `xml:"nextToken"`
	}
	if err := xml.NewDecoder(answer).Decode(&page); err != nil {
		return nil, "", err
	}
	for _, i := range page.Instances {
		if i.State != "running" {
			continue
		}
		m := machine{id: i.ID}
		switch addrType(kind) {
		case "public_v6":
			m.addresses = i.IPv6
		case "public_v4":
			m.addresses = []string{i.Public}
		default:
			m.addresses = []string{i.Private}
		}
		machines = append(machines, m)
	}
	return machines, page.NextToken, nil
}

func addrType(given string) string {
	if given == "" {
		return "private_v4"
	}
	return given
}

// ec2Refusal finds the code. The words are left: those of UnauthorizedOperation are a cipher of the whole request.
func ec2Refusal(body []byte) (code, said string) {
	var answer struct {
		XMLName xml.Name `xml:"Response"`
		Code    string   `xml:"Errors>Error>Code"`
	}
	_ = xml.Unmarshal(body, &answer)
	return answer.Code, ""
}

func awsHint(err error) error {
	var r *cloudapi.Refused
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.Code == "UnauthorizedOperation", r.Code == "AccessDenied":
		return node.Hinted(err, "the role of this instance needs the permission ec2:DescribeInstances")
	case r.Status == http.StatusUnauthorized, r.Code == "SignatureDoesNotMatch", r.Code == "RequestExpired", r.Code == "InvalidClientTokenId":
		return node.Hinted(err, "is this node's clock right, and is the region the role's?")
	case r.Status == http.StatusTooManyRequests, r.Status >= 500: // RequestLimitExceeded is 503
		return node.Hinted(err, "it is asked again")
	}
	return err
}

func (f *Finder) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}
