package retire

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/serverapi"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// aws is EC2 Auto Scaling with a lifecycle hook. The wire: its user guide, "Retrieve the target lifecycle state through instance metadata"; its API
// reference, version 2011-01-01, CompleteLifecycleAction and RecordLifecycleActionHeartbeat; EC2's user guide, "Spot Instance interruption notices".
type aws struct {
	instance              Instance
	finder                *discover.Finder
	group, hook, endpoint string
	place                 *awsPlace
}

// awsPlace is where to ask, and for whom.
type awsPlace struct {
	region, id, endpoint string
	http                 *http.Client
}

const (
	awsState = "/latest/meta-data/autoscaling/target-lifecycle-state"
	awsSpot  = "/latest/meta-data/spot/instance-action"
	awsMay   = "autoscaling:CompleteLifecycleAction and autoscaling:RecordLifecycleActionHeartbeat"
	awsTime  = 10 * time.Second
)

func (a *aws) Ask(ctx context.Context) (Notice, error) {
	state, err := about(ctx, a.instance, node.AWS, awsState)
	if err != nil {
		return Notice{}, err
	}
	if state == "Terminated" || state == "Warmed:Terminated" {
		return Notice{Fate: Goes, Why: "EC2 Auto Scaling terminates this instance"}, nil
	}
	spot, err := about(ctx, a.instance, node.AWS, awsSpot)
	if err != nil || spot == "" {
		return Notice{}, err
	}
	return parseSpot([]byte(spot))
}

func parseSpot(content []byte) (Notice, error) {
	var answer struct {
		Action string `json:"action"`
		Time   string `json:"time"`
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return Notice{}, fmt.Errorf("cannot read spot/instance-action: %w", err)
	}
	n := Notice{Why: fmt.Sprintf("EC2 interrupts this spot instance (%.20s) at %.40s", answer.Action, answer.Time)}
	switch answer.Action {
	case "terminate":
		n.Fate = Goes
	case "stop", "hibernate":
		n.Fate = Restarts
	default:
		return Notice{}, fmt.Errorf("cannot read spot/instance-action: no action %.20q is known", answer.Action)
	}
	return n, nil
}

func (a *aws) Hold(ctx context.Context, _ Notice) error {
	return a.tell(ctx, "RecordLifecycleActionHeartbeat", nil)
}

// Release ends the hook. That there is none is no error: then nobody waits for this instance, or not any more.
func (a *aws) Release(ctx context.Context, _ Notice) error {
	err := a.tell(ctx, "CompleteLifecycleAction", url.Values{"LifecycleActionResult": {"CONTINUE"}})
	var said *cloudapi.Refused
	if errors.As(err, &said) && nobodyWaits(said) {
		return nil
	}
	return err
}

func nobodyWaits(said *cloudapi.Refused) bool {
	return said.Code == "ValidationError" && strings.Contains(said.Said, "No active Lifecycle Action found")
}

func parseAWSRefusal(body []byte) *cloudapi.Refused {
	var answer struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}
	_ = xml.Unmarshal(body, &answer)
	return &cloudapi.Refused{Code: cloudapi.OneLine(answer.Code), Said: cloudapi.OneLine(answer.Message)}
}

// tell asks the API for one action about this instance, once: who listens asks again at its own pace.
func (a *aws) tell(ctx context.Context, action string, more url.Values) error {
	place, err := a.where(ctx)
	if err != nil {
		return err
	}
	query := url.Values{
		"Action": {action}, "Version": {"2011-01-01"}, "AutoScalingGroupName": {a.group}, "LifecycleHookName": {a.hook}, "InstanceId": {place.id},
	}
	maps.Copy(query, more)
	asker := cloudapi.Asker{
		HTTP: place.http, Refusal: parseAWSRefusal, Hint: a.hint,
		Pause: func(context.Context, int) error { return errors.New("later") },
		Authorize: func(ctx context.Context, request *http.Request, body []byte) error {
			keys, err := a.finder.RoleKeys(ctx, awsMay)
			if err == nil {
				sigv4.Sign(request, sigv4.Digest(body), keys, place.region, "autoscaling", time.Now())
			}
			return err
		},
	}
	answer, err := asker.Ask(ctx, cloudapi.Question{
		Method: http.MethodPost, URL: place.endpoint, Body: []byte(query.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
	})
	if err != nil {
		return fmt.Errorf("autoscaling:%s: %w", action, err)
	}
	return answer.Body.Close()
}

func (a *aws) hint(said *cloudapi.Refused) error {
	switch {
	case nobodyWaits(said):
		return node.Hinted(said, fmt.Sprintf("has the group %s a hook %s for autoscaling:EC2_INSTANCE_TERMINATING?", a.group, a.hook))
	case said.Code == "AccessDenied":
		return node.Hinted(said, "the role of this instance needs the permissions "+awsMay)
	case said.Code == "SignatureDoesNotMatch", said.Code == "RequestExpired", said.Code == "InvalidClientTokenId":
		return node.Hinted(said, "is this node's clock right?")
	}
	return said
}

// where asks once.
func (a *aws) where(ctx context.Context) (*awsPlace, error) {
	if a.place != nil {
		return a.place, nil
	}
	p := &awsPlace{endpoint: a.endpoint}
	var domain string
	for _, q := range []struct {
		to         *string
		path, what string
	}{
		{&p.id, "/latest/meta-data/instance-id", "which instance this is"},
		{&p.region, "/latest/meta-data/placement/region", "the region"},
		{&domain, "/latest/meta-data/services/domain", "the domain of the region"}, // amazonaws.com; other partitions have others
	} {
		var err error
		if *q.to, err = known(ctx, a.instance, node.AWS, q.path, q.what); err != nil {
			return nil, err
		}
	}
	if p.endpoint == "" {
		p.endpoint = "https://autoscaling." + p.region + "." + domain
	}
	// What the service says becomes part of a URL.
	u, err := url.Parse(p.endpoint)
	if err != nil || !regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]+)?$`).MatchString(u.Host) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("cannot use the answer of the metadata service: %.80q is no host of an API", p.endpoint)
	}
	p.endpoint = "https://" + u.Host + "/"
	p.http = serverapi.NewClient(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.finder.Authorities}, awsTime, 1)
	if a.finder.Dial != nil {
		p.http.Transport.(*http.Transport).DialContext = a.finder.Dial
	}
	a.place = p
	return p, nil
}
