package retire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// azure is Azure. The wire: "Scheduled Events for Linux VMs". The first question turns the service on for the machine.
type azure struct {
	instance Instance
	name     string // of the machine
}

const (
	azureEvents = "/metadata/scheduledevents?api-version=2020-07-01"
	azureName   = "/metadata/instance/compute/name?api-version=2021-01-01&format=text"
)

// event is one that is scheduled, for this machine or for others of its set.
type event struct {
	ID        string   `json:"EventId"`
	Type      string   `json:"EventType"`
	Resources []string `json:"Resources"`
	NotBefore string   `json:"NotBefore"` // empty: it has begun
}

func parseEvents(content []byte) ([]event, error) {
	var answer struct {
		Incarnation *int64  `json:"DocumentIncarnation"`
		Events      []event `json:"Events"`
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return nil, fmt.Errorf("cannot read the scheduled events: %w", err)
	}
	if answer.Incarnation == nil {
		return nil, errors.New("cannot read the scheduled events: the answer is another document")
	}
	return answer.Events, nil
}

func (a *azure) Ask(ctx context.Context) (Notice, error) {
	if a.name == "" {
		name, err := known(ctx, a.instance, node.Azure, azureName, "the name of this machine")
		if err != nil {
			return Notice{}, err
		}
		a.name = name
	}
	content, err := known(ctx, a.instance, node.Azure, azureEvents, "what is scheduled")
	if err != nil {
		return Notice{}, err
	}
	events, err := parseEvents([]byte(content))
	if err != nil {
		return Notice{}, err
	}
	return a.worst(events), nil
}

// worst is the notice that counts: who goes need not restart.
func (a *azure) worst(events []event) Notice {
	var out Notice
	for _, e := range events {
		if !slices.ContainsFunc(e.Resources, func(name string) bool { return strings.EqualFold(name, a.name) }) {
			continue
		}
		fate := Stays
		switch e.Type {
		case "Terminate", "Preempt":
			fate = Goes
		case "Reboot", "Redeploy":
			fate = Restarts
		}
		if fate > out.Fate {
			out = Notice{Fate: fate, Why: strings.TrimSpace("Azure schedules for this machine: " + e.Type + " " + e.NotBefore), ID: e.ID}
		}
	}
	return out
}

// Hold: the time is the scale set's to give, five minutes to fifteen.
func (a *azure) Hold(context.Context, Notice) error { return nil }

func (a *azure) Release(ctx context.Context, n Notice) error {
	type start struct {
		ID string `json:"EventId"`
	}
	document, err := json.Marshal(map[string][]start{"StartRequests": {{n.ID}}})
	if err != nil {
		return err
	}
	status, err := a.instance.Tell(ctx, node.Azure, azureEvents, document)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the metadata service answers with HTTP status %d", status)
	}
	return err
}
