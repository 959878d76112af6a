//go:build slow

package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// Three servers: the leader's snapshot, restored on a fresh cluster, yields the data; a standby takes none; when the lead changes
// while one is taken there is none, and the next leader takes it.
func TestRealCluster(t *testing.T) {
	w := newWorld(t)
	first := w.start(1, nil)
	root := first.initialize()
	c := first.client(root)
	if err := c.Sys().Mount("kv", &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("precious", 50)
	for i := range 50 {
		if _, err := c.Logical().Write(fmt.Sprintf("kv/secret-%d", i), map[string]any{"value": value + fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	token := first.limited(root)
	second, third := w.start(2, first), w.start(3, first)
	nodetest.Eventually(w.t, "three are in the cluster", 2*time.Minute, func() error {
		for _, v := range []*vault{second, third} {
			s, err := v.client("").Sys().SealStatus()
			if err != nil || s.Sealed {
				return fmt.Errorf("%s is sealed: %w", v.name, err)
			}
		}
		a, err := c.Sys().RaftAutopilotState()
		if err == nil && (!a.Healthy || len(a.Voters) != 3) {
			err = fmt.Errorf("%+v", a)
		}
		return err
	})

	k, sink := key(t), File{filepath.Join(t.TempDir(), "snapshots")}
	if r, err := taker(t, second.source(token), k, sink).Run(t.Context(), true); err != nil || r.Active {
		t.Errorf("a standby: %+v, %v", r, err)
	}
	empty(t, sink)

	m := first.taken(token, k, sink)
	archive := opened(t, sink, m.Archive, k)

	// The lead changes after the first bytes.
	before, err := sink.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changing := &stepping{Source: first.source(token), during: func() {
		if err := c.Sys().StepDown(); err != nil {
			t.Error(err)
		}
		nodetest.Eventually(w.t, "another one leads", 2*time.Minute, func() error {
			l, err := second.client("").Sys().Leader()
			if err == nil && (l.LeaderAddress == "" || l.LeaderAddress == first.url()) {
				err = fmt.Errorf("%+v", l)
			}
			return err
		})
	}}
	if _, err := taker(t, changing, k, sink).Run(t.Context(), true); err == nil {
		t.Error("an archive counts, over which the lead has changed")
	}
	if after, err := sink.List(t.Context()); err != nil || len(after) != len(before) {
		t.Errorf("%v became %v, %v", before, after, err)
	}
	next := second
	if l, err := second.client("").Sys().Leader(); err == nil && l.LeaderAddress == third.url() {
		next = third
	}
	next.leads()
	nodetest.Eventually(w.t, "the next leader takes one", 2*time.Minute, func() error {
		r, err := taker(t, next.source(token), k, sink).Run(t.Context(), true)
		if err == nil && (!r.Active || r.Sinks[0].Archive == m.Archive) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})

	// The way back: a fresh cluster with the same seal.
	fresh := w.start(4, nil)
	if err := fresh.client(fresh.initialize()).Sys().RaftSnapshotRestore(bytes.NewReader(archive), true); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(w.t, "the data is there", 2*time.Minute, func() error {
		for i := range 50 {
			got, err := fresh.client(root).Logical().Read(fmt.Sprintf("kv/secret-%d", i))
			if err != nil {
				return err
			}
			if got == nil || got.Data["value"] != value+fmt.Sprint(i) {
				return fmt.Errorf("secret-%d is %v", i, got)
			}
		}
		return nil
	})
	// It is the cluster of the manifest.
	if s, err := fresh.client("").Sys().Health(); err != nil || s.ClusterID != m.ClusterID {
		t.Errorf("%+v, %v", s, err)
	}
}

// stepping does something when the first bytes have come.
type stepping struct {
	*cluster.Source
	during func()
}

func (s *stepping) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &interrupted{ReadCloser: r, during: s.during}, nil
}

type interrupted struct {
	io.ReadCloser
	during func()
}

func (r *interrupted) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), 1000)])
	if r.during != nil {
		r.during()
		r.during = nil
	}
	return n, err
}
