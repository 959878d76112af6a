package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/telemetry"
)

var (
	anActive  = telemetry.Health{Initialized: true}
	aStandby  = telemetry.Health{Initialized: true, Standby: true}
	aPerf     = telemetry.Health{Initialized: true, Standby: true, PerformanceStandby: true}
	aDR       = telemetry.Health{Initialized: true, DRSecondary: true}
	aSealed   = telemetry.Health{Initialized: true, Sealed: true, Standby: true}
	aRemoved  = telemetry.Health{Initialized: true, Sealed: true, Removed: true}
	aCut      = telemetry.Health{Initialized: true, Standby: true, Cut: true}
	aNewcomer = telemetry.Health{Sealed: true}
)

// verifiedNode is one that passes, with its gate open.
func verifiedNode() *telemetry.Exporter {
	e := telemetry.NewExporter(telemetry.Build{})
	e.SetGate(true)
	e.Judged(document(passing), false)
	return e
}

func says(h telemetry.Health) telemetry.Probes {
	return telemetry.Probes{Alive: yes, Server: func(context.Context) (telemetry.Health, error) { return h, nil }}
}

func TestHealthCodes(t *testing.T) {
	for _, c := range []struct {
		health telemetry.Health
		query  string
		want   int
	}{
		{anActive, "", 200}, {aStandby, "", 200}, {aPerf, "", 200},
		{aDR, "", 472}, {aCut, "", 474}, {aSealed, "", 503}, {aRemoved, "", 530}, {aNewcomer, "", 501},

		{aStandby, "standbyok=true", 200}, {aStandby, "standbyok=1", 200}, {aStandby, "standbyok=false", 429}, {aStandby, "standbyok", 429},
		{aStandby, "standbycode=503", 503}, {aStandby, "standbyok=true&standbycode=503", 200}, {aStandby, "standbyok=false&standbycode=503", 503},
		{aStandby, "standbyok=true&activecode=204", 204}, {aStandby, "activecode=204", 204}, {aStandby, "perfstandbyok=false", 200},
		{aPerf, "perfstandbyok=true", 200}, {aPerf, "perfstandbyok=false", 473}, {aPerf, "performancestandbycode=503", 503}, {aPerf, "standbyok=false", 200},
		{anActive, "activecode=503&standbycode=200", 503}, {aStandby, "activecode=503&standbycode=200", 200}, // traffic for standbys only
		{anActive, "standbyok=false", 200},
		{aDR, "drsecondarycode=200", 200}, {aCut, "haunhealthycode=200", 200}, {aCut, "haunhealthycode=503", 503},
		{aSealed, "sealedcode=599", 599}, {aRemoved, "removedcode=404", 404}, {aNewcomer, "uninitcode=404", 404},

		{aNewcomer, "uninitcode=200", 400}, {aSealed, "sealedcode=204", 400}, {aRemoved, "removedcode=299", 400}, {anActive, "sealedcode=200", 400},
		{anActive, "activecode=199", 400}, {anActive, "activecode=600", 400}, {anActive, "activecode=", 400}, {anActive, "activecode=ok", 400},
		{anActive, "standbyok=yes", 400}, {anActive, "standbyok=true&standbyok=false", 400}, {anActive, "standbycod=200", 400}, {anActive, "=1", 400},
		{anActive, "a=%zz", 400},
	} {
		h := verifiedNode().Handler(says(c.health), nil, quiet)
		for _, method := range []string{"GET", "HEAD"} {
			if w := get(h, method, "/healthz?"+c.query); w.Code != c.want {
				t.Errorf("%+v: %s /healthz?%s says %d %q, want %d", c.health, method, c.query, w.Code, w.Body, c.want)
			}
		}
	}
}

// Every mistake of a query is told, and what to do instead.
func TestHealthQueryMistakes(t *testing.T) {
	w := get(verifiedNode().Handler(says(anActive), nil, quiet), "GET", "/healthz?standbyok=yes&sealedcode=200&standbycod=429&activecode=0")
	for _, want := range []string{
		`standbyok is "yes": want true or false`,
		`sealedcode is 200: a node that is sealed takes no traffic, so no success can be asked for; ask /livez`,
		`there is no parameter "standbycod"; there are uninitcode, removedcode,`,
		`activecode is "0": want a status code from 200 to 599`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q lacks %s", w.Body, want)
		}
	}
}

// Whatever a query asks, a node that is not verified, not a member or not unsealed is no success.
func TestHealthNeverLies(t *testing.T) {
	all := url.Values{"standbyok": {"true"}, "perfstandbyok": {"true"}}
	for _, p := range []string{"activecode", "standbycode", "performancestandbycode", "drsecondarycode", "haunhealthycode"} {
		all.Set(p, "200")
	}
	queries := []string{"", all.Encode(), "sealedcode=200", "uninitcode=200", "removedcode=200"}
	nodes := map[string]func() (*telemetry.Exporter, telemetry.Probes){
		"gate closed": func() (*telemetry.Exporter, telemetry.Probes) {
			e := verifiedNode()
			e.SetGate(false)
			return e, says(anActive)
		},
		"never judged": func() (*telemetry.Exporter, telemetry.Probes) {
			e := telemetry.NewExporter(telemetry.Build{})
			e.SetGate(true)
			return e, says(anActive)
		},
		"drifted": func() (*telemetry.Exporter, telemetry.Probes) {
			e := verifiedNode()
			e.Judged(document(nil), false)
			return e, says(anActive)
		},
		"loop stands": func() (*telemetry.Exporter, telemetry.Probes) {
			p := says(anActive)
			p.Alive = func() error { return errors.New("no") }
			return verifiedNode(), p
		},
		"server silent": func() (*telemetry.Exporter, telemetry.Probes) {
			return verifiedNode(), telemetry.Probes{Alive: yes, Server: func(context.Context) (telemetry.Health, error) {
				return anActive, errors.New("no")
			}}
		},
		"sealed":          func() (*telemetry.Exporter, telemetry.Probes) { return verifiedNode(), says(aSealed) },
		"removed":         func() (*telemetry.Exporter, telemetry.Probes) { return verifiedNode(), says(aRemoved) },
		"not initialized": func() (*telemetry.Exporter, telemetry.Probes) { return verifiedNode(), says(aNewcomer) },
	}
	for _, state := range []string{"joining", "refused", "removed", ""} {
		nodes["join "+state] = func() (*telemetry.Exporter, telemetry.Probes) {
			e := verifiedNode()
			e.SetJoin(telemetry.Join{State: state})
			return e, says(anActive)
		}
	}
	for name, node := range nodes {
		for _, query := range queries {
			e, probes := node()
			if w := get(e.Handler(probes, nil, quiet), "GET", "/healthz?"+query); w.Code < 300 {
				t.Errorf("%s: /healthz?%s says %d %q", name, query, w.Code, w.Body)
			}
		}
	}
	e := verifiedNode()
	e.SetJoin(telemetry.Join{State: telemetry.JoinReady})
	if w := get(e.Handler(says(aStandby), nil, quiet), "GET", "/healthz"); w.Code != 200 {
		t.Errorf("a member is not healthy: %d %q", w.Code, w.Body)
	}
}

func FuzzHealthQuery(f *testing.F) {
	for _, seed := range []string{"", "standbyok=true", "standbycode=429&activecode=200", "sealedcode=200", "a=%zz", "standbyok=1;activecode=2", "=", "activecode=999999999999999999999"} {
		f.Add(seed)
	}
	e := verifiedNode()
	f.Fuzz(func(t *testing.T, query string) {
		for _, h := range []telemetry.Health{anActive, aStandby, aSealed, aRemoved, aNewcomer} {
			code := telemetry.HealthCode(e, h, query)
			if code < 200 || code > 599 {
				t.Fatalf("%q: code %d", query, code)
			}
			if code < 300 && (h.Sealed || h.Removed || !h.Initialized) {
				t.Fatalf("%q: %+v is a success", query, fmt.Sprint(h))
			}
		}
	})
}
