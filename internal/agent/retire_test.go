package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/retire"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// condemned is a cloud that terminates this machine.
type condemned struct{}

func (condemned) Ask(context.Context) (retire.Notice, error) {
	return retire.Notice{Fate: retire.Goes, Why: "the group terminates this instance"}, nil
}
func (condemned) Hold(context.Context, retire.Notice) error { return nil }
func (condemned) Release(context.Context, retire.Notice) error {
	return errors.New("released too early")
}

// The agent listens to the cloud that node.hcl names and to nobody else, and what keeps the node a member leaves it by metric and journal.
func TestHeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var asked []string
		var told []string
		a := &Agent{Options: Options{
			Exporter: telemetry.NewExporter(telemetry.Build{}), Log: slog.New(slog.DiscardHandler), StateDir: t.TempDir(), ServerAddr: "https://127.0.0.1:1",
			Session: cluster.NewSession(node.Secret{}, nil, nil),
			Journal: telemetry.NewJournal(func(message string, _ journal.Priority, fields map[string]string) error {
				told = append(told, fields["STRONGROOM_RETIRE_STATE"]+" "+message)
				return nil
			}),
			Cloud: func(r node.Retire) retire.Cloud {
				asked = append(asked, r.Type)
				if r.Type == node.RetireShutdown {
					return nil
				}
				return condemned{}
			},
		}}
		a.heed(ctx, node.Identity{NodeID: "a"})
		id := node.Identity{NodeID: "a", Retire: []node.Retire{{Type: node.RetireShutdown}, {Type: node.RetireAzure}}}
		a.heed(ctx, id)
		a.heed(ctx, id) // the identity was renewed
		if got := strings.Join(asked, " "); got != "shutdown azure" {
			t.Errorf("asked for %q", got)
		}
		synctest.Wait()
		cancel()
		a.tasks.Wait()
		if last := told[len(told)-1]; !strings.HasPrefix(last, "leaving retire: leaving: the group terminates this instance; waiting: the local server does not answer") {
			t.Errorf("told %q", told)
		}
		answer := httptest.NewRecorder()
		a.Exporter.Handler(telemetry.Probes{}, &a.access, a.Log).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		for _, want := range []string{`hostcheck_retire_state{hostcheck_retire_state="leaving"} 1`, `hostcheck_retire_state{hostcheck_retire_state="watching"} 0`} {
			if !strings.Contains(answer.Body.String(), want) {
				t.Errorf("the metrics lack %s", want)
			}
		}
	})
}
