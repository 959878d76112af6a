package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/telemetry"
)

func TestNode(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	if page := get(h, "GET", "/metrics").Body.String(); strings.Contains(page, "hostcheck_node_info") || strings.Contains(page, "hostcheck_tls") {
		t.Error("a node without a name has one")
	}
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod", Seal: "transit"})
	e.SetTLSExpiry("node", time.Unix(1_700_000_000, 0))
	e.SetTLSExpiry("node", time.Unix(1_800_000_000, 0)) // renewed
	e.SetTLSExpiry("ca", time.Unix(1_900_000_000, 0))
	page := get(h, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`hostcheck_node_info{cluster="prod",node_id="i-1",seal="transit"} 1`,
		`hostcheck_tls_expiry_timestamp_seconds{certificate="node"} 1.8e+09`,
		`hostcheck_tls_expiry_timestamp_seconds{certificate="ca"} 1.9e+09`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the page lacks %s", want)
		}
	}
	if n := strings.Count(page, "\nhostcheck_tls_expiry_timestamp_seconds{"); n != 2 {
		t.Errorf("%d certificates", n)
	}
}
