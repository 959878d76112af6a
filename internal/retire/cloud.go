package retire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/node"
)

// Instance is the machine as its cloud knows it; a [node.Sources] is one.
type Instance interface {
	discover.Instance
	// Tell posts a document to the metadata service, once.
	Tell(ctx context.Context, on node.Platform, path string, document []byte) (status int, err error)
}

// maxAnswer is more than any of these documents has: an event of Azure names all machines of a set.
const maxAnswer = 256 << 10

// New gives the cloud that a retire block names; nil: it names none.
func New(block node.Retire, instance Instance, finder *discover.Finder) Cloud {
	switch block.Type {
	case node.RetireAWS:
		return &aws{instance: instance, finder: finder, group: block.Options["group"], hook: block.Options["hook"], endpoint: block.Options["endpoint"]}
	case node.RetireGCP:
		return &gcp{instance}
	case node.RetireAzure:
		return &azure{instance: instance}
	}
	return nil
}

// about asks the metadata service for a short text; "": there is none.
func about(ctx context.Context, instance Instance, on node.Platform, path string) (string, error) {
	status, content, err := instance.Ask(ctx, on, path, maxAnswer)
	switch {
	case err != nil:
		return "", err
	case status == http.StatusOK:
		return strings.TrimSpace(string(content)), nil
	case status == http.StatusNotFound:
		return "", nil
	}
	path, _, _ = strings.Cut(path, "?")
	return "", fmt.Errorf("the metadata service answers to %s with HTTP status %d", path, status)
}

// known wants an answer.
func known(ctx context.Context, instance Instance, on node.Platform, path, what string) (string, error) {
	text, err := about(ctx, instance, on, path)
	if err == nil && text == "" {
		err = errors.New("the metadata service does not say")
	}
	if err != nil {
		return "", fmt.Errorf("cannot learn %s: %w", what, err)
	}
	return text, nil
}
