package bootstrap

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/cluster"
)

// turns makes the engine in which the nodes lock their retirement, so that one leaves at a time. It holds that one key, of which no write is
// taken that does not say what it replaces.
func (r *run) turns(ctx context.Context) error {
	mount, _, _ := strings.Cut(cluster.TurnPath, "/")
	var there struct {
		Data map[string]struct {
			Type    string            `json:"type"`
			Options map[string]string `json:"options"`
		} `json:"data"`
	}
	if err := r.asRoot(ctx, http.MethodGet, "sys/mounts", nil, &there); err != nil {
		return err
	}
	if old, ok := there.Data[mount+"/"]; !ok {
		request := map[string]any{"type": "kv", "description": "hostcheck: one node at a time is retired", "options": map[string]string{"version": "2"}}
		if err := r.asRoot(ctx, http.MethodPost, "sys/mounts/"+mount, request, nil); err != nil {
			return err
		}
	} else if old.Type != "kv" || old.Options["version"] != "2" {
		return fmt.Errorf("there is an engine at %s/ already that is no KV of version 2", mount)
	}
	if err := r.reached("turns: mounted"); err != nil {
		return err
	}
	// A new engine of this kind refuses for a moment, while it sets itself up.
	return until(ctx, r.Limits.API, r.Limits.Pace, func(ctx context.Context) error {
		return r.asRoot(ctx, http.MethodPost, mount+"/config", map[string]any{"cas_required": true, "max_versions": 1}, nil)
	})
}
