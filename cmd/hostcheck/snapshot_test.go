package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/sigv4"
	"github.com/strongroom/strongroom/internal/snapshot"
)

func TestOpenSink(t *testing.T) {
	references := node.Reader{Authorities: x509.NewCertPool()}
	for name, c := range map[string]struct {
		sink node.SnapshotSink
		want func(snapshot.Sink) bool
	}{
		"a directory": {node.SnapshotSink{Type: "file", Options: map[string]string{"directory": "/x"}},
			func(s snapshot.Sink) bool { return s == snapshot.File{Directory: "/x"} }},
		"Amazon": {node.SnapshotSink{Type: "s3", Options: map[string]string{"bucket": "b", "region": "eu-central-1"}}, func(s snapshot.Sink) bool {
			k := s.(*snapshot.S3)
			return k.Endpoint == "https://s3.eu-central-1.amazonaws.com" && !k.PathStyle && k.HTTP.Timeout == 0
		}},
		"Amazon in China, a bucket with dots": {node.SnapshotSink{Type: "s3", Options: map[string]string{"bucket": "b.c", "region": "cn-north-1"}}, func(s snapshot.Sink) bool {
			k := s.(*snapshot.S3)
			return k.Endpoint == "https://s3.cn-north-1.amazonaws.com.cn" && k.PathStyle // no certificate is for two labels
		}},
		"Google": {node.SnapshotSink{Type: "gcs", Options: map[string]string{"bucket": "b", "prefix": "p/"}}, func(s snapshot.Sink) bool {
			return s.Name() == "gcs:b/p/" && s.(*snapshot.GCS).Endpoint == ""
		}},
		"Azure": {node.SnapshotSink{Type: "azblob", Options: map[string]string{"account": "acct", "container": "c", "prefix": "p/", "endpoint_suffix": "blob.core.windows.net"}},
			func(s snapshot.Sink) bool {
				return s.Name() == "azblob:acct/c/p/" && s.(*snapshot.AzureBlob).Endpoint == "https://acct.blob.core.windows.net"
			}},
		"compatible": {node.SnapshotSink{Type: "s3", Options: map[string]string{"bucket": "b", "endpoint": "https://10.0.0.1:9000/"}}, func(s snapshot.Sink) bool {
			k := s.(*snapshot.S3)
			return k.Endpoint == "https://10.0.0.1:9000" && k.PathStyle
		}},
		"compatible, by host": {node.SnapshotSink{Type: "s3", Options: map[string]string{"bucket": "b", "endpoint": "https://s3.example.net", "path_style": "false"}},
			func(s snapshot.Sink) bool { return !s.(*snapshot.S3).PathStyle }},
	} {
		if s, err := openSink(c.sink, references, &discover.Finder{}); err != nil || !c.want(s) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := openSink(node.SnapshotSink{Type: "tape"}, references, nil); err == nil {
		t.Error("a sink that nobody knows is opened")
	}
}

// The first start's lock lies in any store that knows a condition, and in no directory.
func TestOpenLockStore(t *testing.T) {
	references := node.Reader{Authorities: x509.NewCertPool()}
	for _, sink := range []node.SnapshotSink{
		{Type: "s3", Options: map[string]string{"bucket": "b", "region": "eu-central-1"}}, {Type: "gcs", Options: map[string]string{"bucket": "b"}},
		{Type: "azblob", Options: map[string]string{"account": "acct", "container": "c", "endpoint_suffix": "blob.core.windows.net"}},
	} {
		if s, err := openLockStore(sink, references, &discover.Finder{}); err != nil || s.Name() == "" {
			t.Errorf("%s: %v", sink.Type, err)
		}
	}
	for _, kind := range []string{"file", "tape"} {
		if _, err := openLockStore(node.SnapshotSink{Type: kind}, references, nil); err == nil || !strings.HasPrefix(err.Error(), "lock_store: ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Keys come from where node.hcl says, a line's end is none of them, and no error repeats one.
func TestS3Keys(t *testing.T) {
	d := t.TempDir()
	for name, content := range map[string]string{"access": "AKID\n", "secret": "s3cr3t\n"} {
		if err := os.WriteFile(filepath.Join(d, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sink := node.SnapshotSink{Type: "s3", References: map[string]node.Reference{"access_key": node.Reference("file:" + d + "/access"), "secret_key": node.Reference("file:" + d + "/secret")}}
	read := again(func(ctx context.Context) (sigv4.Keys, error) { return readKeys(ctx, sink, node.Reader{}, nil) })
	for range 2 {
		if k, err := read(t.Context()); err != nil || k.ID != "AKID" || string(k.Secret.Reveal()) != "s3cr3t" || len(k.Token.Reveal()) > 0 {
			t.Errorf("%v, %v", k, err)
		}
	}
	sink.References["session_token"] = node.Reference("file:" + d + "/absent")
	if _, err := readKeys(t.Context(), sink, node.Reader{}, nil); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotExitCodes(t *testing.T) {
	// This machine has no /run/hostcheck/node.json.
	if err := takeSnapshot(context.Background(), false); err == nil {
		t.Error("a node that was never configured is backed up")
	}
	// A sink that cannot be opened is told before a server is asked.
	_, err := runSnapshot(t.Context(), node.Identity{Snapshot: &node.Snapshot{Token: "file:/absent", Sinks: []node.SnapshotSink{{Type: "tape"}}}}, true, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "no token that may read a snapshot") {
		t.Errorf("got %v", err)
	}
}

func TestPrintSnapshot(t *testing.T) {
	at := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	for want, r := range map[string]snapshot.Result{
		"this node does not lead":             {At: at},
		"file:/x: a, 7 bytes, verified":       {At: at, Active: true, Began: at, Sinks: []snapshot.SinkResult{{Sink: "file:/x", Archive: "a", Bytes: 7, Taken: at}}},
		"file:/x: a is not too old":           {At: at, Active: true, Sinks: []snapshot.SinkResult{{Sink: "file:/x", Archive: "a", Taken: at}}},
		"file:/x: NOT BACKED UP: disk full":   {At: at, Active: true, Began: at, Sinks: []snapshot.SinkResult{{Sink: "file:/x", Error: "disk full"}}},
		"deleted 2 files that are not kept\n": {At: at, Active: true, Sinks: []snapshot.SinkResult{{Sink: "file:/x", Removed: 2}}},
	} {
		var out strings.Builder
		printSnapshot(&out, r)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}
