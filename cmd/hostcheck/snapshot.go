package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/agent"
	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/serverapi"
	"github.com/strongroom/strongroom/internal/sigv4"
	"github.com/strongroom/strongroom/internal/snapshot"
)

func snapshotCommand() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Back up the cluster, when this node leads it and a snapshot is due",
		Long: `snapshot takes a snapshot of the cluster for the sinks of node.hcl in which the last verified one is too old: verified on its way,
encrypted to the recipients of node.hcl, read back from each sink. Then it deletes what is not kept. It does nothing on a node
that does not lead, and without a snapshot block. systemd runs it about every quarter of an hour (hostcheck-snapshot.timer).

docs/snapshot.md has the block, the permissions and the way back.`,
		Example: `  hostcheck snapshot               what hostcheck-snapshot.timer does
  hostcheck snapshot --now         before a change`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := takeSnapshot(cmd.Context(), now); err != nil {
				return &exit{exitFail, err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "take one for all sinks, due or not")
	return cmd
}

func takeSnapshot(ctx context.Context, now bool) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	id, err := agent.ReadIdentity(node.IdentityPath)
	if err != nil {
		return err
	}
	if id.Snapshot == nil {
		fmt.Println("node.hcl has no snapshot block: nothing is backed up")
		return nil
	}
	result, err := runSnapshot(ctx, id, now, log)
	if err != nil && len(result.Sinks) == 0 {
		result.Error = err.Error()
	}
	if result.At.IsZero() {
		result.At = time.Now().UTC()
	}
	printSnapshot(os.Stdout, result)
	return errors.Join(err, snapshot.Leave(snapshot.ResultPath, result))
}

func runSnapshot(ctx context.Context, id node.Identity, now bool, log *slog.Logger) (snapshot.Result, error) {
	own := thisNode(log)
	credentials := os.Getenv("CREDENTIALS_DIRECTORY")
	references := agent.SnapshotReader(id, credentials)
	source, err := agent.SnapshotSource(ctx, id, "https://127.0.0.1:"+own.apiPort, credentials, references, log)
	if err != nil {
		return snapshot.Result{}, err
	}
	c := id.Snapshot
	taker := snapshot.Taker{Options: snapshot.Options{
		Source: source, Recipients: c.Recipients, Every: c.Every,
		Retention:   snapshot.Retention{For: c.KeepFor, Least: c.KeepLeast, Most: c.KeepMost},
		ClusterName: id.ClusterName, NodeID: id.NodeID, Server: own.server.ID, Now: time.Now, Log: log,
	}}
	finder := &discover.Finder{Instance: &node.Sources{Root: "/", Metadata: own.metadataEgress, Log: log}}
	for _, s := range c.Sinks {
		sink, err := openSink(s, references, finder)
		if err != nil {
			return snapshot.Result{}, fmt.Errorf("%s: %w", s.Name(), err)
		}
		taker.Sinks = append(taker.Sinks, sink)
	}
	return taker.Run(ctx, now)
}

// openSink makes a sink of what node.hcl says. Nothing is asked yet.
func openSink(s node.SnapshotSink, references node.Reader, finder *discover.Finder) (snapshot.Sink, error) {
	o := s.Options
	switch s.Type {
	case "file":
		return snapshot.File{Directory: o["directory"]}, nil
	case "s3":
		endpoint := strings.TrimSuffix(o["endpoint"], "/")
		path := o["path_style"] == "true" || strings.Contains(o["bucket"], ".")
		if endpoint == "" {
			endpoint = sigv4.Endpoint("s3", o["region"])
		} else if o["path_style"] == "" {
			path = true
		}
		return &snapshot.S3{HTTP: storeClient(references), Endpoint: endpoint, PathStyle: path, Bucket: o["bucket"], Prefix: o["prefix"], Region: o["region"],
			StorageClass: o["storage_class"], Keys: again(func(ctx context.Context) (sigv4.Keys, error) { return readKeys(ctx, s, references, finder) })}, nil
	case "gcs":
		return &snapshot.GCS{HTTP: storeClient(references), Bucket: o["bucket"], Prefix: o["prefix"], Token: again(finder.GoogleToken)}, nil
	case "azblob":
		return &snapshot.AzureBlob{HTTP: storeClient(references), Endpoint: "https://" + o["account"] + "." + o["endpoint_suffix"],
			Account: o["account"], Container: o["container"], Prefix: o["prefix"],
			Token: again(func(ctx context.Context) (node.Secret, error) {
				return finder.AzureToken(ctx, "https://storage.azure.com/", o["client_id"])
			})}, nil
	}
	return nil, errors.New("this hostcheck knows no such sink")
}

// storeClient believes the authorities of the image and the cluster, and follows no redirect.
func storeClient(references node.Reader) *http.Client {
	client := serverapi.NewClient(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: references.Authorities, Certificates: references.Certificate}, sinkTime, 1)
	client.Timeout = 0 // reading a large archive back takes its time; the unit's end is the end
	client.Transport.(*http.Transport).ResponseHeaderTimeout = sinkTime
	return client
}

// sinkTime is how long an answer to a request may take; a part of 8 MiB has to be through in it.
const sinkTime = 5 * time.Minute

// keysAgain is how long keys are used before they are asked for again. Those of a role are renewed five minutes before their end.
const keysAgain = time.Minute

// again remembers keys or a token for that long.
func again[T any](read func(context.Context) (T, error)) func(context.Context) (T, error) {
	var mu sync.Mutex
	var last T
	var until time.Time
	return func(ctx context.Context) (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(until) {
			return last, nil
		}
		fresh, err := read(ctx)
		if err == nil {
			last, until = fresh, time.Now().Add(keysAgain)
		}
		return fresh, err
	}
}

// readKeys reads the keys from where node.hcl says, or takes those of the instance's role.
func readKeys(ctx context.Context, s node.SnapshotSink, references node.Reader, finder *discover.Finder) (sigv4.Keys, error) {
	if s.References["access_key"] == "" {
		return finder.RoleKeys(ctx, "s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket")
	}
	const maxKey = 8 << 10
	var values [3][]byte
	for i, name := range []string{"access_key", "secret_key", "session_token"} {
		if s.References[name] == "" {
			continue
		}
		b, err := references.Read(ctx, s.References[name], maxKey)
		if err != nil {
			return sigv4.Keys{}, err
		}
		values[i] = bytes.TrimSpace(b)
	}
	return sigv4.Keys{ID: string(values[0]), Secret: node.NewSecret(values[1]), Token: node.NewSecret(values[2])}, nil
}

func printSnapshot(out io.Writer, r snapshot.Result) {
	if !r.Active {
		if r.Error == "" {
			fmt.Fprintln(out, "this node does not lead: there is nothing to do")
		}
		return
	}
	for _, s := range r.Sinks {
		switch {
		case s.Error != "":
			fmt.Fprintf(out, "%s: NOT BACKED UP: %s\n", s.Sink, s.Error)
		case !r.Began.IsZero() && !s.Taken.Before(r.Began.Truncate(time.Second)):
			fmt.Fprintf(out, "%s: %s, %d bytes, verified and read back\n", s.Sink, s.Archive, s.Bytes)
		default:
			fmt.Fprintf(out, "%s: %s is not too old\n", s.Sink, s.Archive)
		}
		if s.Removed > 0 {
			fmt.Fprintf(out, "%s: deleted %d files that are not kept\n", s.Sink, s.Removed)
		}
	}
}
