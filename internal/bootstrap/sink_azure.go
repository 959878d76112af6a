package bootstrap

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// azure is a secret of Azure Key Vault, in the public cloud. The wire: its REST reference, "Get Secret" and "Set Secret"; the tests hold it against
// azure-sdk-for-go/sdk/security/keyvault/azsecrets.
type azure struct {
	clouds      Clouds
	vault, name string
}

const (
	azureVersion  = "?api-version=7.4"
	azureResource = "https://vault.azure.net"
	mayAzure      = "secrets/get and secrets/set (role Key Vault Secrets Officer)"
)

func (a *azure) ask(ctx context.Context, method string, in, out any) error {
	address := "https://" + a.vault + ".vault.azure.net/secrets/" + url.PathEscape(a.name) + azureVersion
	if method == http.MethodGet {
		address = "https://" + a.vault + ".vault.azure.net/secrets/" + url.PathEscape(a.name) + "/" + azureVersion
	}
	err := a.clouds.ask(ctx, method, address, in, out, cloudapi.Bearer(func(ctx context.Context) (node.Secret, error) {
		return a.clouds.Azure(ctx, azureResource, "")
	}), func(b []byte) (code, said string) {
		var answer struct {
			Error struct{ Code, Message string }
		}
		_ = json.Unmarshal(b, &answer)
		return answer.Error.Code, answer.Error.Message
	})
	return needs(err, mayAzure)
}

func (a *azure) Read(ctx context.Context) (Content, error) {
	var answer struct{ Value, ID string }
	err := a.ask(ctx, http.MethodGet, nil, &answer)
	switch {
	case cloudapi.Code(err) == "SecretNotFound":
		return Content{}, nil
	case err != nil:
		return Content{}, err
	}
	return Content{[]byte(answer.Value), answer.ID}, nil
}

// Write makes a new version. Key Vault has no condition to say over which one; an older version stays readable.
func (a *azure) Write(ctx context.Context, content []byte, _ Content) error {
	return a.ask(ctx, http.MethodPut, map[string]string{"value": string(content), "contentType": "application/json"}, nil)
}
