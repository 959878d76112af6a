package discovertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// EC2 is an instance of AWS.
type EC2 struct {
	ID, State       string // state "": running
	Tags            map[string]string
	Private, Public string
	IPv6            []string
}

// AWS is a region: its metadata service and EC2's API.
type AWS struct {
	Region    string // eu-central-1
	Domain    string // amazonaws.com
	Own       string // id of the instance that asks
	Role      string // in its profile; empty: none
	Instances []EC2
	PageSize  int // reservations; 0: what the request asks for
	// Careless: filters are not looked at.
	Careless bool
	// Permission that the role lacks: then the answer is UnauthorizedOperation.
	Denied bool

	mu    sync.Mutex
	asked int
}

// The credentials of the role.
const (
	awsID     = "ASIAIOSFODNN7EXAMPLE"
	AWSSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" // of AWS's own documentation
	AWSToken  = "PLANTED//////////wEXAMPLETOKEN=="
)

// Asked is how often the API was.
func (a *AWS) Asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// Metadata is the instance's metadata service, version 2.
func (a *AWS) Metadata() http.Handler {
	const token = "AQAEXAMPLE=="
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/latest/api/token" {
			if ttl, err := strconv.Atoi(r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds")); r.Method != http.MethodPut || err != nil || ttl < 1 || ttl > 21600 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fmt.Fprint(w, token)
			return
		}
		if r.Method != http.MethodGet || r.Header.Get("X-aws-ec2-metadata-token") != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		const roles = "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.URL.Path == "/latest/meta-data/instance-id":
			fmt.Fprint(w, a.Own)
		case r.URL.Path == "/latest/meta-data/placement/region":
			fmt.Fprint(w, a.Region)
		case r.URL.Path == "/latest/meta-data/services/domain":
			fmt.Fprint(w, a.Domain)
		case r.URL.Path == roles && a.Role != "":
			fmt.Fprint(w, a.Role)
		case r.URL.Path == roles+a.Role && a.Role != "":
			_ = json.NewEncoder(w).Encode(map[string]string{
				"Code": "Success", "LastUpdated": "2026-11-22T12:00:00Z", "Type": "AWS-HMAC", "AccessKeyId": awsID, "SecretAccessKey": AWSSecret,
				"Token": AWSToken, "Expiration": "2026-11-22T18:00:00Z",
			})
		default:
			http.NotFound(w, r)
		}
	})
}

// API is EC2 in the region.
func (a *AWS) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked++
		a.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		if code := a.Authenticate(r, body, "ec2"); code != "" {
			EC2Refusal(w, http.StatusUnauthorized, code)
			return
		}
		q, err := url.ParseQuery(string(body))
		max, _ := strconv.Atoi(q.Get("MaxResults"))
		switch {
		case err != nil, r.Method != http.MethodPost, r.URL.Path != "/", r.URL.RawQuery != "", !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
			EC2Refusal(w, http.StatusBadRequest, "MalformedQueryString")
		case q.Get("Action") != "DescribeInstances", q.Get("Version") != "2016-11-15":
			EC2Refusal(w, http.StatusBadRequest, "InvalidAction")
		case max < 5, max > 1000:
			EC2Refusal(w, http.StatusBadRequest, "InvalidParameterValue")
		case a.Denied:
			EC2Refusal(w, http.StatusForbidden, "UnauthorizedOperation")
		default:
			if a.PageSize > 0 {
				max = a.PageSize
			}
			a.list(w, q, max)
		}
	})
}

// Authenticate recomputes the signature for a service with AWS's own library.
func (a *AWS) Authenticate(r *http.Request, body []byte, service string) (code string) {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	if err != nil || !strings.Contains(";"+signed+";", ";host;") || r.Header.Get("X-Amz-Security-Token") != AWSToken {
		return "AuthFailure"
	}
	if d := time.Since(at); d > 5*time.Minute || d < -5*time.Minute {
		return "RequestExpired"
	}
	again, err := http.NewRequest(r.Method, "https://"+r.Host+r.URL.RequestURI(), http.NoBody)
	if err != nil {
		return "AuthFailure"
	}
	for name := range strings.SplitSeq(signed, ";") {
		if name != "host" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256(body)
	keys := aws.Credentials{AccessKeyID: awsID, SecretAccessKey: AWSSecret, SessionToken: AWSToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), keys, again, hex.EncodeToString(sum[:]), service, a.Region, at); err != nil {
		return "AuthFailure"
	}
	if again.Header.Get("Authorization") != r.Header.Get("Authorization") {
		return "SignatureDoesNotMatch"
	}
	return ""
}

// list answers as the API reference's example does.
func (a *AWS) list(w http.ResponseWriter, q url.Values, max int) {
	var matching []EC2
	for _, i := range a.Instances {
		if i.State == "" {
			i.State = "running"
		}
		if a.Careless || i.matches(q) {
			matching = append(matching, i)
		}
	}
	from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("NextToken"), "page+/="))
	end := min(from+max, len(matching))
	var b strings.Builder
	fmt.Fprint(&b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>8f7724cf-496f-496e-8fe3-example</requestId><reservationSet>`)
	for _, i := range matching[from:end] {
		fmt.Fprintf(&b, `<item><reservationId>r-1234567890abcdef0</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet><item><instanceId>%s</instanceId>`+
			`<imageId>ami-bff32ccc</imageId><instanceState><code>16</code><name>%s</name></instanceState><placement><availabilityZone>%sa</availabilityZone></placement>`, i.ID, i.State, a.Region)
		if i.Private != "" {
			fmt.Fprintf(&b, `<privateIpAddress>%s</privateIpAddress>`, i.Private)
		}
		if i.Public != "" {
			fmt.Fprintf(&b, `<ipAddress>%s</ipAddress>`, i.Public)
		}
		fmt.Fprint(&b, `<networkInterfaceSet><item><networkInterfaceId>eni-551ba033</networkInterfaceId><privateIpAddress>192.0.2.99</privateIpAddress>`)
		for _, v6 := range i.IPv6 {
			fmt.Fprintf(&b, `<ipv6AddressesSet><item><ipv6Address>%s</ipv6Address></item></ipv6AddressesSet>`, v6)
		}
		fmt.Fprint(&b, `</item></networkInterfaceSet></item></instancesSet></item>`)
	}
	fmt.Fprint(&b, `</reservationSet>`)
	if end < len(matching) {
		fmt.Fprintf(&b, `<nextToken>page+/=%d</nextToken>`, end)
	}
	fmt.Fprint(&b, `</DescribeInstancesResponse>`)
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	fmt.Fprint(w, b.String())
}

// matches applies the filters of a request, with their wildcards.
func (i EC2) matches(q url.Values) bool {
	for n := 1; q.Has(fmt.Sprintf("Filter.%d.Name", n)); n++ {
		value := i.State
		if tag, ok := strings.CutPrefix(q.Get(fmt.Sprintf("Filter.%d.Name", n)), "tag:"); ok {
			value = i.Tags[tag]
		}
		if ok, _ := path.Match(q.Get(fmt.Sprintf("Filter.%d.Value.1", n)), value); !ok {
			return false
		}
	}
	return true
}

// EC2Refusal is an error of EC2 in its own form.
func EC2Refusal(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	type e struct{ Code, Message string }
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName   xml.Name `xml:"Response"`
		Error     e        `xml:"Errors>Error"`
		RequestID string
	}{Error: e{code, "You are not authorized to perform this operation. Encoded authorization failure message: PLANTED-CIPHER"}, RequestID: "ea966190-f9aa-478e-9ede-example"})
}
