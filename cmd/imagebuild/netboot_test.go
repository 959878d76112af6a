package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/netboot"
)

// netbootBundle is what a bake leaves in its output directory, but small.
func netbootBundle(t *testing.T) (output string, files []netboot.File) {
	t.Helper()
	output = t.TempDir()
	dir := filepath.Join(output, "netboot")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := netboot.Manifest{Name: "strongroom", Version: "1", RootHash: strings.Repeat("ab", 32), CommandLine: "ro"}
	for _, role := range []netboot.Role{netboot.UnifiedKernel, netboot.Kernel, netboot.Initrd, netboot.Root} {
		sum := sha256.Sum256([]byte(role))
		digest := hex.EncodeToString(sum[:])
		f := netboot.File{Role: role, Name: netboot.NameOf(role, digest), Size: int64(len(role)), SHA256: digest}
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(role), 0o644); err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, f)
	}
	if _, err := netboot.Finish(t.Context(), dir, m, nil); err != nil {
		t.Fatal(err)
	}
	return output, m.Files
}

func TestNetbootServe(t *testing.T) {
	output, files := netbootBundle(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- serveNetboot(ctx, output, "127.0.0.1:0", slog.New(slog.NewTextHandler(writer, nil)))
		writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	if !lines.Scan() {
		t.Fatal(<-ended)
	}
	said := regexp.MustCompile(`script=(http://127\.0\.0\.1:\d+/)boot\.ipxe`).FindStringSubmatch(lines.Text())
	if said == nil {
		t.Fatalf("it does not say where the script is: %s", lines.Text())
	}
	rest := make(chan string)
	go func() {
		var log strings.Builder
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
		}
		rest <- log.String()
	}()
	answer, err := http.Get(said[1] + files[3].Name)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || string(body) != "root" {
		t.Errorf("read %q, %v", body, err)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("interrupted, it ends with %v", err)
	}
	if log := <-rest; !strings.Contains(log, files[3].Name) || !strings.Contains(log, "stopped") {
		t.Errorf("the log lacks the request or the end:\n%s", log)
	}
}

func TestNetbootServeRefuses(t *testing.T) {
	output, files := netbootBundle(t)
	if err := os.WriteFile(filepath.Join(output, "netboot", files[3].Name), []byte("r00t"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	if code := run([]string{"netboot", "serve", "--listen", "127.0.0.1:0", output}, &stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "is not served") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	stderr.Reset()
	if code := run([]string{"netboot", "serve"}, &stdout, &stderr); code != exitUsage {
		t.Errorf("exit code %d without a directory: %s", code, stderr.String())
	}
}
