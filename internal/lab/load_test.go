//go:build boot

package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

// load is what the server is given to do: as many entries, by so many writers at once.
const (
	loadEntries = 400
	loadWriters = 8
	loadTimeout = 8 * time.Minute // emulated, beside others
)

// TestVaultUnderLoad lets the server do its work in the sandbox that the image gives it: systemd's
// settings, the seccomp filter, the AppArmor profile, the firewall, the file systems. Whatever one of
// them takes away that Vault needs shows as an error here, or in the kernel's log.
func TestVaultUnderLoad(t *testing.T) {
	t.Parallel()
	dir, _ := finished(t)
	diskPath, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	node := start(t, Config{Disk: newDisk(t, diskPath), UUID: NewUUID()})
	d := verdictOf(t, node)
	if d.Verdict != check.Pass {
		t.Fatalf("%v", &VerdictError{d})
	}
	underLoad(t, node)
	powerOff(t, node)
	requireUndisturbed(t, node, "vault")
}

// underLoad initialises and unseals the server, audits to a file and to the journal, writes and reads
// entries, takes a snapshot, and asks the node whether it is still what was baked.
func underLoad(t *testing.T, node *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	client := node.vault(t)
	initialised, err := client.Sys().InitWithContext(ctx, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(initialised.RootToken)
	if status, err := client.Sys().UnsealWithContext(ctx, initialised.Keys[0]); err != nil || status.Sealed {
		t.Fatalf("unseal: %+v, %v", status, err)
	}
	awaitActive(t, ctx, client)
	if err := enableAudit(ctx, client); err != nil {
		t.Fatal(err)
	}
	if err := client.Sys().MountWithContext(ctx, "load", &vault.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	writeAndRead(t, ctx, client)
	t.Logf("%d entries written and read in %.1f s", loadEntries, time.Since(started).Seconds())

	// It reads half of /proc, which a sandbox that hides too much shows first.
	info, err := client.Logical().ReadWithContext(ctx, "sys/host-info")
	if err != nil || info == nil || info.Data["memory"] == nil || info.Data["cpu"] == nil || info.Data["disk"] == nil || len(info.Warnings) > 0 {
		t.Errorf("host-info: %+v, %v", info, err)
	}

	var snapshot bytes.Buffer
	if err := client.Sys().RaftSnapshotWithContext(ctx, &snapshot); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	if !bytes.HasPrefix(snapshot.Bytes(), []byte{0x1f, 0x8b}) || snapshot.Len() < loadEntries {
		t.Fatalf("the snapshot has %d bytes and begins with %x", snapshot.Len(), snapshot.Bytes()[:min(4, snapshot.Len())])
	}
	t.Logf("snapshot of %d bytes", snapshot.Len())
	requireStillPassing(t, ctx, node)
}

func writeAndRead(t *testing.T, ctx context.Context, client *vault.Client) {
	t.Helper()
	values := make([]string, loadEntries)
	for i := range values {
		values[i] = rand.Text() + strings.Repeat("x", 1024)
	}
	kv := client.KVv2("load")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loadWriters)
	for i, value := range values {
		group.Go(func() error {
			name := fmt.Sprintf("entry/%d", i)
			if _, err := kv.Put(ctx, name, map[string]any{"value": value}); err != nil {
				return fmt.Errorf("write %s: %w", name, err)
			}
			secret, err := kv.Get(ctx, name)
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			if secret.Data["value"] != value {
				return fmt.Errorf("%s is not what was written", name)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// vault is a client of the node's API.
func (n *Node) vault(t *testing.T) *vault.Client {
	t.Helper()
	client, err := newClient("https://"+n.Address(PortAPI), n.trust)
	if err != nil {
		t.Fatal(err)
	}
	client.SetMaxRetries(2) // an emulated node may be slow to answer
	return client
}

func awaitActive(t *testing.T, ctx context.Context, client *vault.Client) {
	t.Helper()
	if err := awaitLead(ctx, client); err != nil {
		t.Fatalf("the unsealed server does not become active: %v", err)
	}
}

// requireStillPassing waits for a report that was begun after the work.
func requireStillPassing(t *testing.T, ctx context.Context, node *Node) {
	t.Helper()
	_, _, err := node.Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	worked, err := node.now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, _, err := node.Report(ctx)
		if err == nil && d.Started.After(worked) {
			if d.Verdict != check.Pass {
				t.Errorf("after the work: %v", &VerdictError{d})
			}
			for _, c := range d.Controls {
				if c.Outcome == control.Unknown {
					t.Errorf("after the work %s is unknown: %+v", c.ID, c.Observations)
				}
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no report of the time after the work: %v", err)
		case <-time.After(pollInterval):
		}
	}
}

// now is the node's clock, by the date of an answer.
func (n *Node) now(ctx context.Context) (time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+n.Address(PortTelemetry)+"/livez", nil)
	if err != nil {
		return time.Time{}, err
	}
	client := http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: n.trust, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	response.Body.Close()
	return http.ParseTime(response.Header.Get("Date"))
}

var (
	policyLoaded  = regexp.MustCompile(`apparmor="STATUS" operation="profile_(load|replace)".* name="([a-z-]+)"`)
	accessRefused = regexp.MustCompile(`.*(apparmor="DENIED"|audit: type=1326 ).*`)
)

// requireUndisturbed reads what the kernel wrote to the console. That it tells of AppArmor at all is seen
// by its telling that the policy was loaded.
func requireUndisturbed(t *testing.T, node *Node, server string) {
	t.Helper()
	console, err := os.ReadFile(node.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	for _, m := range policyLoaded.FindAllSubmatch(console, -1) {
		loaded[string(m[2])] = true
	}
	for _, name := range []string{server, "hostcheck", "hostcheck-configure"} {
		if !loaded[name] {
			t.Errorf("the console does not tell that the AppArmor profile %s was loaded", name)
		}
	}
	for _, line := range accessRefused.FindAll(console, -1) {
		t.Errorf("the sandbox refused something: %s", line)
	}
}
