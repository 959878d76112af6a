package discover

import (
	"context"

	"github.com/strongroom/strongroom/internal/node"
)

// GoogleToken is one of this instance's service account, with the scopes that the instance was given.
func (f *Finder) GoogleToken(ctx context.Context) (node.Secret, error) { return f.gceToken(ctx) }

// AzureToken is one of this instance's managed identity for a resource, such as https://storage.azure.com/. With several identities
// client says which.
func (f *Finder) AzureToken(ctx context.Context, resource, client string) (node.Secret, error) {
	return f.azureToken(ctx, resource, client)
}
