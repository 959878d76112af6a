package logs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/logs"
)

// A real Vault's audit log: what a root token does is told, what another token does is not, and neither is the agent's own.
func TestRootTokenOfVault(t *testing.T) {
	v := startVault(t, false)
	var mu sync.Mutex
	var events []string
	told := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, events...)
	}
	// Minutes pass from look to look, so that each use is told.
	clock := time.Now()
	w := logs.Watcher{File: v.audit(logs.AuditFile), Seen: filepath.Join(v.dir, "seen.json"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { clock = clock.Add(time.Minute); return clock }, Event: func(use logs.RootUse, more int) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf("%v %s %s %s", use.Made, use.Operation, use.Path, use.Remote))
			if use.Request == "" || use.At.IsZero() || more != 0 {
				t.Errorf("%+v, %d", use, more)
			}
		}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	v.eventually("the watch has begun", func() error {
		s, err := logs.ReadSeen(w.Seen)
		if err == nil && s == nil {
			err = fmt.Errorf("nothing is left yet")
		}
		return err
	})
	v.ask("PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "kv/*" { capabilities = ["read", "list", "create", "update"] }`})
	made := v.ask("PUT", "auth/token/create", map[string]any{"policies": []string{"reader"}})
	other := made["auth"].(map[string]any)["client_token"].(string)
	if _, err := v.tryAs(other, "PUT", "kv/other", map[string]any{"policies": []string{"root"}, "path": "root"}); err != nil {
		t.Fatal(err)
	}
	v.ask("PUT", "auth/token/create", map[string]any{})
	v.eventually("all of it is told", func() error {
		for _, want := range []string{"false update sys/policies/acl/reader 127.0.0.1", "false update auth/token/create 127.0.0.1", "true update auth/token/create 127.0.0.1"} {
			if !strings.Contains(strings.Join(told(), "\n"), want) {
				return fmt.Errorf("%q lacks %q", told(), want)
			}
		}
		return nil
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, e := range told() {
		if strings.Contains(e, "kv/other") {
			t.Errorf("a token without root is told of: %s", e)
		}
	}
	seen, err := logs.ReadSeen(w.Seen)
	if err != nil || seen.Uses != 3 || seen.Made != 1 || seen.Unreadable != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
}
