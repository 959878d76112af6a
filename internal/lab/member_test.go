//go:build boot && slow

package lab

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/report"
)

const (
	siteControls = `family: acme
controls:
  - id: acme-banner-shown
    title: The banner of Acme is in place
    severity: must
    stage: boot
    refs: ["ACME 12.3"]
    rationale: Legal asks for it.
    resources:
      - file: {path: /etc/acme-banner, mode: "0644", uid: 0, gid: 0, content: "keep out\n"}
`
	waivedFault = "network-syn-floods-survived"
	siteWaivers = "waivers:\n  - {control: " + waivedFault + ", reason: the lab asks for it, owner: the tests, expires: 2099-12-31}\n"
)

// TestBootMember boots an image with a control of the user's own and with a fault that a waiver covers, and boots it
// again, unsealed and with a token for the agent: the report then has stage member.
func TestBootMember(t *testing.T) {
	err := bake(t.Context(), recipe{
		name: "member", controls: siteControls, waivers: siteWaivers,
		drift: []overlay.Fragment{sysctlFault("net.ipv4.tcp_syncookies", "0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Disk: newDisk(t, filepath.Join(workDir, "member", "disk.raw")), UUID: NewUUID()}
	first := start(t, config)
	document := verdictOf(t, first)
	requirePass(t, document)
	requireOutcome(t, document, "acme-banner-shown", control.Pass)
	requireOutcome(t, document, waivedFault, control.Waived)
	metrics, err := first.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := `hostcheck_waiver_expiry_timestamp_seconds{check="` + waivedFault + `"}`; !strings.Contains(string(metrics), want) {
		t.Errorf("the metrics lack %s", want)
	}
	requireOutcome(t, document, "api-audit-devices-two", control.Pending)
	key, token := becomeCluster(t, first)
	powerOff(t, first)

	config.Credentials = []Credential{{node.CredentialToken, node.NewSecret([]byte(token))}}
	second := start(t, config)
	requirePass(t, verdictOf(t, second))
	if _, err := second.vault(t).Sys().UnsealWithContext(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	document = awaitStage(t, second, control.StageMember)
	if document.Verdict != check.Pass {
		t.Errorf("%v", &VerdictError{document})
	}
	for _, id := range []string{"api-audit-devices-two", "api-audit-values-hashed", "api-audit-files-confined", "api-root-tokens-none",
		"api-user-lockout-effective", "api-autopilot-healthy", "api-autopilot-cleanup-bounded", "api-autopilot-thresholds-sane"} {
		requireOutcome(t, document, id, control.Pass)
	}
	for _, c := range document.Controls {
		if c.Outcome == control.Unknown || c.Outcome == control.Pending {
			t.Errorf("%s is %s: %+v", c.ID, c.Outcome, c.Observations)
		}
	}
	powerOff(t, second)
	requireUndisturbed(t, second, "vault")
}

// becomeCluster initialises the server, does to it what the controls of stage member ask for, and gives the unseal key
// and a token with the agent's policy. The root token is revoked last.
func becomeCluster(t *testing.T, node *Node) (key, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	client := node.vault(t)
	initialised, err := client.Sys().InitWithContext(ctx, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key = initialised.Keys[0]
	client.SetToken(initialised.RootToken)
	_, err = client.Sys().UnsealWithContext(ctx, key)
	must(err)
	awaitActive(t, ctx, client)
	sys := client.Sys()
	must(enableAudit(ctx, client))
	must(configureAutopilot(ctx, client, true, 3))
	must(sys.EnableAuthWithOptionsWithContext(ctx, "userpass", &vault.EnableAuthOptions{Type: "userpass"}))
	must(sys.PutPolicyWithContext(ctx, "strongroom-agent", bootstrap.AgentPolicy))
	secret, err := client.Auth().Token().CreateOrphanWithContext(ctx, &vault.TokenCreateRequest{
		Period: "72h", Policies: []string{"strongroom-agent"}, NoDefaultPolicy: true, DisplayName: "strongroom-agent",
	})
	must(err)
	must(client.Auth().Token().RevokeSelfWithContext(ctx, ""))
	return key, secret.Auth.ClientToken
}

// awaitStage waits for a report of a stage. The first ones may see a server that has not settled yet.
func awaitStage(t *testing.T, node *Node, stage control.Stage) *report.Document {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	var last *report.Document
	for {
		d, _, err := node.Report(ctx)
		if err == nil && d.Stage == stage {
			last = d
			if d.Verdict == check.Pass && d.Summary[control.Unknown.String()] == 0 {
				return d
			}
		}
		select {
		case <-ctx.Done():
			if last == nil {
				t.Fatalf("no report of stage %s: %v", stage, err)
			}
			return last
		case <-time.After(pollInterval):
		}
	}
}
