package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/discover/discovertest"
	"github.com/strongroom/strongroom/internal/node"
)

const autoJoin = "provider=aws tag_key=strongroom tag_value=prod"

// inAWS has two instances in a region: the one that asks, and the one at 10.0.0.2.
func inAWS(own string) *discovertest.AWS {
	tag := map[string]string{"strongroom": "prod"}
	return &discovertest.AWS{Region: "eu-central-1", Domain: "amazonaws.com", Own: own, Role: "nodes", Instances: []discovertest.EC2{
		{ID: "i-1", Tags: tag, Private: "10.0.0.1"}, {ID: "i-2", Tags: tag, Private: "10.0.0.2"},
	}}
}

// asks has the joiner find members through a region. Its private network is this machine's loopback: 10.0.0.2 is 127.0.0.2 when wide,
// and else everybody is 127.0.0.1.
func asks(t *testing.T, aws *discovertest.AWS, api http.Handler, wide bool) func(*Options) {
	n := discovertest.NewNetwork(t)
	n.Metadata(aws.Metadata())
	n.Serve("ec2.eu-central-1.amazonaws.com", n.CA, api)
	finder := n.Finder(node.AWS)
	return func(o *Options) {
		o.Discover = func(ctx context.Context, config string) ([]string, error) {
			found, err := finder.Find(ctx, config)
			for i, address := range found {
				last, inside := strings.CutPrefix(address, "10.0.0.")
				if !inside {
					t.Errorf("found %s", address)
				}
				if found[i] = "127.0.0.1"; wide {
					found[i] = "127.0.0." + last
				}
			}
			return found, err
		}
	}
}

// portOf is the port of a server, which auto_join has for all members.
func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A node that is told a tag finds the leader in the cloud, also when the cloud is too busy at first.
func TestJoinByAutoJoin(t *testing.T) {
	own, leader, id := pair(t)
	id.Join = node.Join{AutoJoin: autoJoin, Port: portOf(t, leader.url), ServerName: "fake.example.net"}
	own.answers["sys/storage/raft/join"] = object{"joined": true}
	own.answers["sys/health"] = []any{fakeHealth(false, true), fakeHealth(true, false)}
	own.answers["sys/leader"] = object{"leader_address": leader.url}
	aws := inAWS("i-1")
	busy := 2
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy > 0 {
			busy--
			discovertest.EC2Refusal(w, http.StatusServiceUnavailable, "RequestLimitExceeded")
			return
		}
		aws.API().ServeHTTP(w, r)
	})
	j := joinerOf(t, own, id, asks(t, aws, api, false))
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if own.count("sys/storage/raft/join") != 1 || leader.count("sys/health") == 0 {
		t.Errorf("asked %q and %q", own.asked, leader.asked)
	}
}

// A named leader answers, and what the cloud refused is not lost: the log has it, once.
func TestAutoJoinRefusedBesideALeader(t *testing.T) {
	own, leader, id := pair(t)
	id.Join.AutoJoin = autoJoin
	own.answers["sys/storage/raft/join"] = object{"joined": true}
	own.answers["sys/health"] = []any{fakeHealth(false, true), fakeHealth(true, false)}
	own.answers["sys/leader"] = object{"leader_address": leader.url}
	leader.answers["sys/health"] = []any{http.StatusServiceUnavailable, fakeHealth(true, false)}
	aws := inAWS("i-1")
	aws.Denied = true
	var log bytes.Buffer
	j := joinerOf(t, own, id, asks(t, aws, aws.API(), false), func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "UnauthorizedOperation"); n != 1 {
		t.Errorf("%d times in the log:\n%s", n, &log)
	}
}

// What the cloud refuses is the reason of the node that waits, with the way out beside it.
func TestAutoJoinRefused(t *testing.T) {
	id := node.Identity{Join: node.Join{AutoJoin: autoJoin}}
	aws := inAWS("i-1")
	aws.Denied = true
	var o Options
	asks(t, aws, aws.API(), false)(&o)
	found, err := find(t.Context(), id, nil, o.Discover)
	if len(found) > 0 || err == nil {
		t.Fatalf("found %v, %v", found, err)
	}
	expectRefusal(t, asRefusal(err), ByJoin, false, "cannot find members by auto_join: provider aws: ec2:DescribeInstances in eu-central-1: HTTP status 403: UnauthorizedOperation")
	if r := asRefusal(err); strings.Contains(r.Reason, "hint") || r.Hint() != "the role of this instance needs the permission ec2:DescribeInstances" {
		t.Errorf("reason %q, hint %q", r.Reason, r.Hint())
	}
	// Without a way to ask, that is the reason.
	_, err = find(t.Context(), id, nil, New(Options{}).Discover)
	expectRefusal(t, asRefusal(err), ByJoin, false, "asks no cloud")
}

// The same with real servers: the second finds the first by its tag, and joins it.
func TestRealServersJoinByAutoJoin(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		second := w.add("second").start().answering() // 127.0.0.2
		first := w.add("first").start().answering()   // 127.0.0.3
		first.initialize()
		aws := inAWS("i-2")
		aws.Instances[0].Private = "10.0.0.3"
		id := second.identity()
		id.Join = node.Join{AutoJoin: autoJoin, Port: first.api, ServerName: first.ServerName}
		j, seen := second.joiner(id, asks(t, aws, aws.API(), true))
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, seen.names())
		}
		if got := seen.names(); got != "gate api local find prove judge join unseal listed ready" {
			t.Errorf("states %s", got)
		}
		if got := w.raft(first); len(got) != 2 {
			t.Errorf("members %+v", got)
		}
	})
}
