//go:build boot

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/watch"
)

const (
	bootTimeout    = 8 * time.Minute // emulated, a boot takes one or two on idle cores
	refusalTimeout = 3 * time.Minute
	patienceAfter  = 15 * time.Second // in which a server that must stay down would have come up
)

// slots bounds the machines that run at once: an emulated one keeps one core busy.
var slots = make(chan struct{}, min(2, runtime.NumCPU()))

// start boots a node that ends with the test.
func start(t testing.TB, config Config) *Node {
	t.Helper()
	slots <- struct{}{}
	release := sync.OnceFunc(func() { <-slots })
	config.Log = testLog()
	config.ConsoleLog = filepath.Join(t.TempDir(), "console.log")
	node, err := StartNode(t.Context(), newAuthority(t), config)
	if err != nil {
		release()
		t.Fatal(err)
	}
	go func() {
		<-node.Done()
		release()
	}()
	stop := node.progress(config.Log, t.Name())
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			text, _ := os.ReadFile(node.ConsoleLog())
			t.Logf("console:\n%s", text)
		}
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

func newDisk(t testing.TB, image string) *Disk {
	t.Helper()
	disk, err := NewDisk(t.Context(), t.TempDir(), image)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

func verdictOf(t testing.TB, node *Node) *report.Document {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	document, _, err := node.AwaitVerdict(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("verdict %s at stage %s after %.0f s", document.Verdict, document.Stage, node.Uptime().Seconds())
	return document
}

func powerOff(t *testing.T, node *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), powerOffTimeout)
	defer cancel()
	pressed := time.Now()
	if _, err := node.PowerOff(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("powered off after %.1f s", time.Since(pressed).Seconds())
	console, err := os.ReadFile(node.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	// In order: systemd had to kill nothing, and lost no file system.
	for _, bad := range []string{"timed out. Killing", "Sending SIGKILL to PID", "Failed unmounting", "Failed to unmount"} {
		if strings.Contains(string(console), bad) {
			t.Errorf("the shutdown was not orderly: the console shows %q", bad)
		}
	}
	// hostcheck-leave.service had its turn, while there was a server to ask. A sealed one, and a lone one, leads nobody.
	said := string(console)
	asked := strings.Contains(said, "to hand over") || strings.Contains(said, "hands over the lead")
	if !asked || strings.Contains(said, "the local server does not answer: there is nothing to hand over") {
		t.Error("the console does not show that hostcheck leave has asked the server")
	}
}

// TestBoot boots the image as it was baked, twice on the same disk.
func TestBoot(t *testing.T) {
	t.Parallel()
	dir, manifest := finished(t)
	diskPath, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	tpm, err := NewTPM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Disk: newDisk(t, diskPath), UUID: NewUUID(), TPM: tpm}
	node := start(t, config)
	document := verdictOf(t, node)

	t.Run("every must control passes", func(t *testing.T) {
		if document.Verdict != check.Pass {
			t.Errorf("%v", &VerdictError{document})
		}
		judged := 0
		for _, c := range document.Controls {
			if c.Severity != control.Must {
				t.Logf("%s: %s", c.ID, c.Outcome)
				continue
			}
			// At stage run only what asks for a member of a cluster may be left, and what was judged of the tree.
			switch {
			case c.Outcome == control.Pass:
				judged++
			case c.Outcome == control.NotApplicable && c.Stage == control.StageImage, c.Outcome == control.Pending:
			default:
				t.Errorf("%s: %s: %+v", c.ID, c.Outcome, c.Observations)
			}
		}
		if judged < 100 {
			t.Errorf("only %d must controls pass", judged)
		}
	})
	t.Run("root is on verity", func(t *testing.T) {
		if document.Host.RootHash != manifest.RootHash {
			t.Errorf("root hash %q, the manifest says %q", document.Host.RootHash, manifest.RootHash)
		}
		requireOutcome(t, document, "root-verity", control.Pass)
	})
	t.Run("this firmware checks nothing, and the report says so", func(t *testing.T) {
		requireOutcome(t, document, "firmware-secure-boot-on", control.Fail) // TestSecureBoot has one that does
	})
	t.Run("Vault runs, sealed and not initialised", func(t *testing.T) {
		var health struct{ Initialized, Sealed bool }
		status, body, err := node.Get(t.Context(), PortAPI, "/v1/sys/health")
		if err != nil || json.Unmarshal(body, &health) != nil {
			t.Fatalf("health: %v %s", err, body)
		}
		if status != http.StatusNotImplemented || health.Initialized || !health.Sealed {
			t.Errorf("health: status %d, %s; want 501, not initialised and sealed", status, body)
		}
	})
	t.Run("metrics tell the verdict", func(t *testing.T) {
		metrics, err := node.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(metrics), document.Baseline) {
			t.Errorf("the metrics do not name the baseline %s:\n%s", document.Baseline, metrics)
		}
	})
	t.Run("its sandbox lets the agent hear all that announces a change", func(t *testing.T) {
		for _, source := range watch.Sources {
			if source == watch.Memory {
				continue // belongs to files
			}
			series := fmt.Sprintf("hostcheck_listening{source=%q} 1\n", source)
			for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(pollInterval) {
				metrics, err := node.Metrics(t.Context())
				if err == nil && strings.Contains(string(metrics), series) {
					break
				}
				if time.Now().After(deadline) {
					t.Errorf("the metrics lack %s: %v\n%s", series, err, metrics)
					break
				}
			}
		}
	})
	t.Run("its TPM vouches for it", func(t *testing.T) { requireAttested(t, node, dir) })
	t.Run("only the ports of the baseline answer", func(t *testing.T) {
		ports, err := node.Scan(t.Context(), scanned())
		if err != nil {
			t.Fatal(err)
		}
		// Raft's port opens when Vault is unsealed.
		if want := []int{PortAPI, PortTelemetry}; !slices.Equal(ports.Open, want) {
			t.Errorf("open ports %v, want %v", ports.Open, want)
		}
		t.Logf("%d ports: open %v, refused %v, %d silent", len(scanned()), ports.Open, ports.Closed, len(ports.Filtered))
	})
	t.Run("no SSH", func(t *testing.T) {
		if err := sshHandshake(node.Address(PortSSH)); err == nil {
			t.Error("an SSH server answers")
		} else {
			t.Log(err)
		}
	})
	t.Run("the power button shuts down in order", func(t *testing.T) { powerOff(t, node) })
	node.Close()

	t.Run("a second boot is the same node", func(t *testing.T) {
		node := start(t, config)
		again := verdictOf(t, node)
		if document.Host.NodeID == "" || again.Host.NodeID != document.Host.NodeID {
			t.Errorf("node id %q, then %q", document.Host.NodeID, again.Host.NodeID)
		}
		if document.Host.MachineID == "" || again.Host.MachineID != document.Host.MachineID {
			t.Errorf("machine id %q, then %q", document.Host.MachineID, again.Host.MachineID)
		}
		if again.Verdict != check.Pass {
			t.Errorf("%v", &VerdictError{again})
		}
		powerOff(t, node)
	})
	identities.record(t, document)
}

// identities compares every machine that the tests have booted with the others.
var identities = identityBook{nodes: map[string]string{}, machines: map[string]string{}}

type identityBook struct {
	mu              sync.Mutex
	nodes, machines map[string]string
}

func (b *identityBook) record(t *testing.T, d *report.Document) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, taken := b.nodes[d.Host.NodeID]; taken || d.Host.NodeID == "" {
		t.Errorf("node id %q is that of the node of %s too", d.Host.NodeID, other)
	}
	if other, taken := b.machines[d.Host.MachineID]; taken || d.Host.MachineID == "" {
		t.Errorf("machine id %q is that of the machine of %s too", d.Host.MachineID, other)
	}
	b.nodes[d.Host.NodeID], b.machines[d.Host.MachineID] = t.Name(), t.Name()
}

// scanned are the ports that a scan asks for: the well-known ones and those of usual daemons.
func scanned() []int {
	var ports []int
	for port := 1; port <= 1024; port++ {
		ports = append(ports, port)
	}
	return append(ports, 1883, 2049, 2222, 2375, 2376, 2379, 3000, 3306, 4646, 5000, 5353, 5355, 5432, 6000, 6379, 6443,
		8000, 8080, 8086, 8125, 8126, PortAPI, PortRaft, 8300, 8443, 8500, 8600, 9000, 9090, 9093, 9100, 9102, 9200, 9323, PortTelemetry,
		10250, 11211, 19531, 19532, 27017)
}

func sshHandshake(address string) error {
	conn, err := net.DialTimeout("tcp", address, requestTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(requestTimeout))
	_, _, _, err = ssh.NewClientConn(conn, address, &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	return err
}

func requireOutcome(t *testing.T, d *report.Document, id string, want control.Outcome) {
	t.Helper()
	for _, c := range d.Controls {
		if c.ID == id {
			if c.Outcome != want {
				t.Errorf("control %s: %s, want %s: %+v", id, c.Outcome, want, c.Observations)
			}
			return
		}
	}
	t.Errorf("control %s is not in the report", id)
}

// requireVaultDown watches for a while: the agent judges a closed gate again and again, and a
// server that it lets start later is as wrong as one that starts at once.
func requireVaultDown(t *testing.T, node *Node) {
	t.Helper()
	select {
	case <-time.After(patienceAfter):
	case <-node.Done():
		t.Fatal("the node went down")
	}
	ports, err := node.Scan(t.Context(), []int{PortAPI, PortRaft, PortTelemetry})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{PortTelemetry}; !slices.Equal(ports.Open, want) {
		t.Errorf("open ports %v, want %v: Vault stays down and the reason leaves the node", ports.Open, want)
	}
}

// requireClosedGate is the whole of a negative boot: the verdict, its reason, and no Vault.
func requireClosedGate(t *testing.T, node *Node, id string) {
	t.Helper()
	document := verdictOf(t, node)
	if document.Verdict != check.Fail || document.Stage != control.StageBoot {
		t.Errorf("verdict %s at stage %s, want fail at stage boot", document.Verdict, document.Stage)
	}
	for _, c := range document.Controls {
		if c.Severity == control.Must && c.ID != id && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			t.Errorf("control %s: %s, and only %s was broken: %+v", c.ID, c.Outcome, id, c.Observations)
		}
	}
	requireOutcome(t, document, id, control.Fail)
	requireVaultDown(t, node)
	identities.record(t, document)
}

// A sysctl of a must control is flipped by a drop-in that sorts behind ours.
func TestBootWithSysctlDrift(t *testing.T) {
	t.Parallel()
	disk := variant(t, "sysctl", overlay.File("/usr/lib/sysctl.d/zz-drift.conf", "fs.protected_symlinks = 0\n"))
	requireClosedGate(t, start(t, Config{Disk: newDisk(t, disk), UUID: NewUUID()}), "links-protected")
}

// A swap partition is active. The node's command line switches off what would activate it by
// its type alone, and swap.target is masked, so it takes a unit that something else wants.
func TestBootWithSwap(t *testing.T) {
	t.Parallel()
	const unit = `dev-disk-by\x2dpartlabel-intruder.swap`
	disk := variant(t, "swap",
		overlay.File("/usr/lib/systemd/system/"+unit, "[Unit]\nBefore=hostcheck-gate.service\n[Swap]\nWhat=/dev/disk/by-partlabel/intruder\n"),
		overlay.Symlink("/usr/lib/systemd/system/sysinit.target.wants/"+unit, "../"+unit))
	node := start(t, Config{Disk: newDisk(t, disk), UUID: NewUUID(), Extra: []*Disk{swapDisk(t)}})
	requireClosedGate(t, node, "memory-swap-off")
}

// The gate is masked: then nobody judges, and Vault must not start either.
func TestBootWithMaskedGate(t *testing.T) {
	t.Parallel()
	disk := variant(t, "masked", overlay.Symlink("/etc/systemd/system/hostcheck-gate.service", "/dev/null"))
	node := start(t, Config{Disk: newDisk(t, disk), UUID: NewUUID()})
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	for {
		status, body, err := node.Get(ctx, PortTelemetry, "/livez")
		if err == nil {
			if status == http.StatusOK {
				t.Errorf("/livez: status 200 %q; it says that the gate is open", body)
			}
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal(node.withConsole(fmt.Errorf("the agent does not answer: %w", err)))
		case <-node.Done():
			t.Fatal(node.withConsole(ErrStopped))
		case <-time.After(pollInterval):
		}
	}
	requireVaultDown(t, node)
}

// One byte of the root file system is another one. It lies in the first block, which no boot
// can do without, and behind the superblock: the file system would mount, so what refuses is
// the hash tree.
func TestBootWithFlippedByte(t *testing.T) {
	t.Parallel()
	dir, manifest := finished(t)
	diskPath, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	const behindSuperblock = 2048
	disk := newDisk(t, diskPath)
	flipped := false
	for _, p := range manifest.Partitions {
		if p.Label == "strongroom-root" {
			if err := disk.FlipByte(t.Context(), p.Start+behindSuperblock); err != nil {
				t.Fatal(err)
			}
			flipped = true
		}
	}
	if !flipped {
		t.Fatalf("no root partition among %+v", manifest.Partitions)
	}
	node := start(t, Config{Disk: disk, UUID: NewUUID()})
	ctx, cancel := context.WithTimeout(t.Context(), refusalTimeout)
	defer cancel()
	for {
		if _, _, err := node.Get(ctx, PortTelemetry, "/livez"); err == nil {
			t.Fatal("the node came up on a root that is not what was baked")
		}
		select {
		case <-ctx.Done():
			t.Fatal(node.withConsole(fmt.Errorf("the node neither came up nor refused within %s", refusalTimeout)))
		case <-node.Done():
			// A panic resets the machine, and the lab does not start it again.
			if shutdown, err := node.Wait(ctx); err != nil || shutdown.Reason == "guest-shutdown" {
				t.Fatalf("shutdown %+v, error %v; want a reset", shutdown, err)
			}
			t.Logf("refused after %.0f s", node.Uptime().Seconds())
			return
		case <-time.After(pollInterval):
		}
	}
}

// swapDisk is a disk with one swap partition, named "intruder".
func swapDisk(t *testing.T) *Disk {
	t.Helper()
	const start, size = 1 << 20, 64 << 20
	dir := t.TempDir()
	partition, whole := filepath.Join(dir, "swap"), filepath.Join(dir, "swap.raw")
	for path, length := range map[string]int64{partition: size, whole: start + size + 1<<20} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, length); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), "mkswap", partition); err != nil {
		t.Fatal(err)
	}
	table := exec.CommandContext(t.Context(), "sfdisk", "--quiet", whole)
	table.Stdin = strings.NewReader(fmt.Sprintf("label: gpt\nstart=%d, size=%d, type=S, name=intruder\n", start/512, size/512))
	if output, err := table.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v: %s", err, output)
	}
	content, err := os.ReadFile(partition)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(whole, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, start); err != nil {
		t.Fatal(err)
	}
	return newDisk(t, whole)
}
