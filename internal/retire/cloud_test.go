package retire

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/discover/discovertest"
	"github.com/strongroom/strongroom/internal/node"
)

// group is an autoscaling group with one instance: the lifecycle's part of its metadata service, and the API.
type group struct {
	region *discovertest.AWS
	state  string // empty: there is none, and the answer is 404
	spot   string
	refuse string // code of the next refusals
	sdk    bool   // the SDK asks, with signatures of its own

	mu    sync.Mutex
	asked []url.Values
	over  bool // the action was completed
}

func frankfurt() *group {
	return &group{region: &discovertest.AWS{Region: "eu-central-1", Domain: "amazonaws.com", Own: "i-00000000000000001", Role: "vault"}, state: "InService"}
}

const autoscalingHost = "autoscaling.eu-central-1.amazonaws.com"

func (g *group) metadata() http.Handler {
	rest := g.region.Metadata()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ours := map[string]string{awsState: g.state, awsSpot: g.spot}[r.URL.Path]
		switch {
		case !ours:
			rest.ServeHTTP(w, r)
		case r.Header.Get("X-aws-ec2-metadata-token") == "":
			w.WriteHeader(http.StatusUnauthorized)
		case text == "":
			http.NotFound(w, r)
		default:
			fmt.Fprint(w, text)
		}
	})
}

// refusal is in the form of the API reference, "Common errors".
func refusal(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>`+
		`<RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ErrorResponse>`, code, message)
}

func (g *group) api() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		q, err := url.ParseQuery(string(body))
		if code := g.region.Authenticate(r, body, "autoscaling"); code != "" && !g.sdk {
			refusal(w, http.StatusForbidden, code, "The request signature does not match.")
			return
		}
		action := q.Get("Action")
		switch {
		case err != nil, r.Method != http.MethodPost, r.URL.Path != "/", r.URL.RawQuery != "", !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
			refusal(w, http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error.")
		case q.Get("Version") != "2011-01-01", action != "CompleteLifecycleAction" && action != "RecordLifecycleActionHeartbeat":
			refusal(w, http.StatusBadRequest, "InvalidAction", "Could not find operation.")
		case g.refuse != "":
			refusal(w, http.StatusForbidden, g.refuse, "User: arn:aws:sts::123456789012:assumed-role/vault is not authorized")
		case q.Get("AutoScalingGroupName") != "vault", q.Get("LifecycleHookName") != "strongroom", q.Get("InstanceId") != g.region.Own, g.over:
			refusal(w, http.StatusBadRequest, "ValidationError", "No active Lifecycle Action found with instance ID "+q.Get("InstanceId"))
		default:
			g.asked = append(g.asked, q)
			g.over = action == "CompleteLifecycleAction"
			fmt.Fprintf(w, `<%[1]sResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><%[1]sResult/><ResponseMetadata><RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ResponseMetadata></%[1]sResponse>`, action)
		}
	})
}

// cloud is the group as the node's agent asks it.
func (g *group) cloud(t *testing.T, options map[string]string) Cloud {
	t.Helper()
	n := discovertest.NewNetwork(t)
	n.Metadata(g.metadata())
	n.Serve(autoscalingHost, n.CA, g.api())
	finder := n.Finder(node.AWS)
	all := map[string]string{"group": "vault", "hook": "strongroom"}
	for name, value := range options {
		all[name] = value
	}
	return New(node.Retire{Type: node.RetireAWS, Options: all}, finder.Instance.(Instance), finder)
}

func says(t *testing.T, c Cloud, want Fate, part string) Notice {
	t.Helper()
	n, err := c.Ask(t.Context())
	if err != nil || n.Fate != want || !strings.Contains(n.Why, part) {
		t.Errorf("got %+v, %v; want fate %d, %q", n, err, want, part)
	}
	return n
}

func fails(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q", err, part)
		}
	}
	if err != nil && (strings.Contains(err.Error(), discovertest.AWSSecret) || strings.Contains(err.Error(), "PLANTED")) {
		t.Errorf("a secret in %v", err)
	}
}

func TestAWS(t *testing.T) {
	g := frankfurt()
	c := g.cloud(t, nil)
	says(t, c, Stays, "")
	g.state = "" // it has joined no group yet
	says(t, c, Stays, "")
	for _, state := range []string{"Terminated", "Warmed:Terminated"} {
		g.state = state
		says(t, c, Goes, "EC2 Auto Scaling terminates this instance")
	}
	for range 2 {
		if err := c.Hold(t.Context(), Notice{}); err != nil {
			t.Error(err)
		}
	}
	for range 2 { // the second time nobody waits any more
		if err := c.Release(t.Context(), Notice{}); err != nil {
			t.Error(err)
		}
	}
	fails(t, c.Hold(t.Context(), Notice{}), "autoscaling:RecordLifecycleActionHeartbeat", "No active Lifecycle Action", "has the group vault a hook strongroom")
	if len(g.asked) != 3 || g.asked[2].Get("LifecycleActionResult") != "CONTINUE" {
		t.Errorf("asked %v", g.asked)
	}
	t.Run("denied", func(t *testing.T) {
		g := frankfurt()
		g.refuse = "AccessDenied"
		fails(t, g.cloud(t, nil).Release(t.Context(), Notice{}), "HTTP status 403: AccessDenied", "needs the permissions autoscaling:CompleteLifecycleAction")
	})
	t.Run("no role", func(t *testing.T) {
		g := frankfurt()
		g.region.Role = ""
		fails(t, g.cloud(t, nil).Hold(t.Context(), Notice{}), "the role of this instance", "autoscaling:")
	})
	t.Run("cannot be reached", func(t *testing.T) {
		fails(t, frankfurt().cloud(t, map[string]string{"endpoint": "https://vpce-1.example.net"}).Hold(t.Context(), Notice{}), "may this node reach vpce-1.example.net? (firewall.egress)")
	})
	t.Run("a region that is none", func(t *testing.T) {
		g := frankfurt()
		g.region.Region = "eu-1.evil.example.net/"
		fails(t, g.cloud(t, nil).Hold(t.Context(), Notice{}), "no host of an API")
	})
	t.Run("spot", func(t *testing.T) {
		g := frankfurt()
		c := g.cloud(t, nil)
		for action, fate := range map[string]Fate{"terminate": Goes, "stop": Restarts, "hibernate": Restarts} {
			g.spot = fmt.Sprintf(`{"action": %q, "time": "2017-09-18T08:22:00Z"}`, action)
			says(t, c, fate, "at 2017-09-18T08:22:00Z")
		}
		for _, nonsense := range []string{"<html>", `{"action": "dance"}`} {
			g.spot = nonsense
			_, err := c.Ask(t.Context())
			fails(t, err, "cannot read spot/instance-action")
		}
	})
	t.Run("another cloud", func(t *testing.T) {
		finder := discovertest.NewNetwork(t).Finder(node.GCP)
		_, err := New(node.Retire{Type: node.RetireAWS}, finder.Instance.(Instance), finder).Ask(t.Context())
		fails(t, err, "no instance of aws")
	})
}

// AWS's own library sends the same, and understands what the group of these tests answers.
func TestAWSAsTheSDK(t *testing.T) {
	own, theirs := frankfurt(), frankfurt()
	c := own.cloud(t, nil)
	if err := errors.Join(c.Hold(t.Context(), Notice{}), c.Release(t.Context(), Notice{})); err != nil {
		t.Fatal(err)
	}
	theirs.sdk = true
	n := discovertest.NewNetwork(t)
	n.Serve(autoscalingHost, n.CA, theirs.api())
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(n.CA.PEM)
	client := autoscaling.New(autoscaling.Options{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("ASIAIOSFODNN7EXAMPLE", discovertest.AWSSecret, discovertest.AWSToken),
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: n.Finder(node.AWS).Dial, TLSClientConfig: &tls.Config{RootCAs: authorities}}},
		Retryer:    sdk.NopRetryer{},
	})
	name, hook, id := "vault", "strongroom", theirs.region.Own
	if _, err := client.RecordLifecycleActionHeartbeat(t.Context(), &autoscaling.RecordLifecycleActionHeartbeatInput{AutoScalingGroupName: &name, LifecycleHookName: &hook, InstanceId: &id}); err != nil {
		t.Fatal(err)
	}
	complete := &autoscaling.CompleteLifecycleActionInput{AutoScalingGroupName: &name, LifecycleHookName: &hook, InstanceId: &id, LifecycleActionResult: sdk.String("CONTINUE")}
	if _, err := client.CompleteLifecycleAction(t.Context(), complete); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs.asked, own.asked); diff != "" {
		t.Errorf("requests (-SDK +own):\n%s", diff)
	}
	_, err := client.CompleteLifecycleAction(t.Context(), complete)
	var said smithy.APIError
	if !errors.As(err, &said) || said.ErrorCode() != "ValidationError" {
		t.Errorf("got %v", err)
	}
}

func TestGCP(t *testing.T) {
	said := map[string]string{"preempted": "FALSE", "maintenance-event": "NONE"}
	n := discovertest.NewNetwork(t)
	n.Metadata(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		text, there := said[strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/instance/")]
		if r.Header.Get("Metadata-Flavor") != "Google" || r.Host != "metadata.google.internal" || !there {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	}))
	finder := n.Finder(node.GCP)
	c := New(node.Retire{Type: node.RetireGCP}, finder.Instance.(Instance), finder)
	says(t, c, Stays, "") // no graceful shutdown: its key is not there
	said["shutdown-details/stop-state"] = "UNSPECIFIED"
	said["maintenance-event"] = "MIGRATE_ON_HOST_MAINTENANCE"
	says(t, c, Stays, "")
	said["maintenance-event"] = "TERMINATE_ON_HOST_MAINTENANCE"
	says(t, c, Restarts, "for maintenance")
	said["shutdown-details/stop-state"] = "PENDING_STOP"
	says(t, c, Goes, "stops or deletes")
	said["preempted"] = "TRUE"
	says(t, c, Goes, "preempts")
	if err := errors.Join(c.Hold(t.Context(), Notice{}), c.Release(t.Context(), Notice{})); err != nil {
		t.Error(err)
	}
}

// The document is that of Microsoft's page.
func TestAzure(t *testing.T) {
	events := `[]`
	var started []string
	n := discovertest.NewNetwork(t)
	n.Metadata(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("Metadata") != "true":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/metadata/instance/compute/name" && q.Get("format") == "text" && q.Get("api-version") == "2021-01-01":
			fmt.Fprint(w, "Vault_1")
		case r.URL.Path == "/metadata/scheduledevents" && q.Get("api-version") == "2020-07-01" && r.Method == http.MethodGet:
			fmt.Fprintf(w, `{"DocumentIncarnation": 3, "Events": %s}`, events)
		case r.URL.Path == "/metadata/scheduledevents" && q.Get("api-version") == "2020-07-01" && r.Method == http.MethodPost:
			var request struct {
				StartRequests []struct{ EventId string } //nolint:revive // The service's spelling.
			}
			d := json.NewDecoder(r.Body)
			d.DisallowUnknownFields()
			if d.Decode(&request) != nil || len(request.StartRequests) != 1 || !strings.Contains(events, request.StartRequests[0].EventId) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			started = append(started, request.StartRequests[0].EventId)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	finder := n.Finder(node.Azure)
	c := New(node.Retire{Type: node.RetireAzure}, finder.Instance.(Instance), finder)
	says(t, c, Stays, "")
	of := func(id, kind, machine string) string {
		return fmt.Sprintf(`{"EventId": %q, "EventStatus": "Scheduled", "EventType": %q, "ResourceType": "VirtualMachine", "Resources": ["other_0", %q], "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT", "Description": "", "EventSource": "Platform", "DurationInSeconds": -1}`, id, kind, machine)
	}
	events = "[" + of("A", "Terminate", "vault_2") + "," + of("B", "Freeze", "vault_1") + "]"
	says(t, c, Stays, "") // another machine's, and a pause of seconds
	events = "[" + of("C", "Reboot", "vault_1") + "]"
	says(t, c, Restarts, "Reboot Mon, 19 Sep 2016 18:29:47 GMT")
	events = "[" + of("C", "Redeploy", "vault_1") + "," + of("602d9444-d2cd-49c7-8624-8643e7171297", "Terminate", "vault_1") + "]"
	notice := says(t, c, Goes, "Terminate")
	if err := errors.Join(c.Hold(t.Context(), notice), c.Release(t.Context(), notice)); err != nil || len(started) != 1 || started[0] != notice.ID {
		t.Errorf("%v, started %q", err, started)
	}
	fails(t, c.Release(t.Context(), Notice{ID: "gone"}), "HTTP status 400")
	events = "[" + of("D", "Preempt", "VAULT_1") + "]"
	says(t, c, Goes, "Preempt")
	events = "7"
	_, err := c.Ask(t.Context())
	fails(t, err, "cannot read the scheduled events")
}

func TestShutdownIsNoCloud(t *testing.T) {
	if c := New(node.Retire{Type: node.RetireShutdown}, nil, nil); c != nil {
		t.Errorf("%T", c)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`))
	f.Add([]byte(`{"DocumentIncarnation": 1, "Events": [{"EventId": "1", "EventType": "Terminate", "Resources": ["vm"]}]}`))
	f.Add([]byte(`<ErrorResponse><Error><Code>ValidationError</Code></Error></ErrorResponse>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseSpot(b); err == nil && n.Fate == Stays {
			t.Errorf("%q: %+v", b, n)
		}
		if events, err := parseEvents(b); err == nil {
			_ = (&azure{name: "vm"}).worst(events)
		}
		if r := parseAWSRefusal(b); strings.Contains(r.Code+r.Said, "\n") {
			t.Errorf("%+v is more than a line", r)
		}
	})
}
