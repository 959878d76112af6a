package cluster

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/node"
)

type records map[string][]*net.SRV

func (r records) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "" || proto != "" {
		return "", nil, errors.New("the name is whole")
	}
	found, ok := r[name]
	if !ok {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, found, nil
}

func TestFind(t *testing.T) {
	dns := records{"_vault._tcp.example.net": {{Target: "a.example.net.", Port: 8200}, {Target: "b.example.net.", Port: 8300}}}
	auto := func(_ context.Context, config string) ([]string, error) {
		if config != "provider=test" {
			return nil, errors.New("no such provider")
		}
		return []string{"10.0.0.1", "fd00::1"}, nil
	}
	for name, c := range map[string]struct {
		join node.Join
		want []string // address, then the name that its certificate must have
		err  string
	}{
		"leaders, each once": {node.Join{Leaders: []node.Leader{{Address: "https://a:8200/"}, {Address: "https://a:8200"}, {Address: "https://b:8200", ServerName: "x"}}},
			[]string{"https://a:8200 ", "https://b:8200 x"}, ""},
		"SRV":                       {node.Join{SRV: "_vault._tcp.example.net", ServerName: "vault"}, []string{"https://a.example.net:8200 vault", "https://b.example.net:8300 vault"}, ""},
		"SRV and a leader of it":    {node.Join{SRV: "_vault._tcp.example.net", Leaders: []node.Leader{{Address: "https://a.example.net:8200", ServerName: "own"}}}, []string{"https://a.example.net:8200 own", "https://b.example.net:8300 "}, ""},
		"no records, but a leader":  {node.Join{SRV: "_nobody._tcp.example.net", Leaders: []node.Leader{{Address: "https://a:8200"}}}, []string{"https://a:8200 "}, "cannot look up the SRV records"},
		"auto_join":                 {node.Join{AutoJoin: "provider=test", Port: 9000}, []string{"https://10.0.0.1:9000 ", "https://[fd00::1]:9000 "}, ""},
		"auto_join, the usual port": {node.Join{AutoJoin: "provider=test"}, []string{"https://10.0.0.1:8200 ", "https://[fd00::1]:8200 "}, ""},
		"auto_join that fails":      {node.Join{AutoJoin: "provider=none"}, nil, "cannot find members by auto_join: no such provider"},
		"nothing":                   {node.Join{}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := find(t.Context(), node.Identity{CA: "pem", Join: c.join}, dns, auto)
			var got []string
			for _, f := range found {
				got = append(got, f.address+" "+f.serverName)
				if f.ca != "pem" {
					t.Errorf("%s is believed with %q", f.address, f.ca)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
	many := node.Join{}
	for range 100 {
		many.Leaders = append(many.Leaders, node.Leader{Address: "https://" + strings.Repeat("a", len(many.Leaders)+1)})
	}
	if found, _ := find(t.Context(), node.Identity{Join: many}, dns, auto); len(found) != maxCandidates {
		t.Errorf("%d candidates", len(found))
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		own, leader string
		older       bool
	}{
		{"1.21.1", "1.21.5", false}, {"1.20.9", "1.21.0", true}, {"1.21.1", "2.0.0", true}, {"2.0.0", "1.21.1", false},
		{"1.21.1+ent", "1.21.0", false}, {"", "1.21.0", false}, {"1.21.0", "", false}, {"1.21.0", "redacted", false}, {"2.10.0", "2.9.1", false},
	} {
		if got := older(c.own, c.leader); got != c.older {
			t.Errorf("%q older than %q: %t", c.own, c.leader, got)
		}
	}
}

// What a server answers and what lies on the disk may be anything.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`))
	f.Add([]byte(`{"data":{"config":{"servers":[{"node_id":"a","address":"10.0.0.1:8201","leader":true,"voter":true}]}}}`))
	f.Add([]byte(`{"node_id":"a","at":"2026-11-22T09:00:00Z","why":"a test"}`))
	f.Add([]byte(`1.21.1+ent`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if said := refusalWords(b); strings.ContainsAny(said, "\n\r") {
			t.Errorf("%q has lines", said)
		}
		_, _ = parseMark("mark", b)
		_, _, _ = release(string(b))
		if members, err := parseConfiguration(b); err == nil {
			for _, m := range members {
				if m.ID == "" || m.Address == "" {
					t.Errorf("%+v", members)
				}
			}
		}
		_ = joinRefusal(string(b)).Error()
	})
}
