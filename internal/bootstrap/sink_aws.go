package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/sigv4"
)

// aws is a secret of AWS Secrets Manager. The wire: its API reference, version 2017-10-17, in AWS's JSON 1.1; the tests hold it against
// aws-sdk-go-v2/service/secretsmanager.
type aws struct {
	clouds       Clouds
	region, name string
}

const mayAWS = "secretsmanager:CreateSecret, GetSecretValue and PutSecretValue"

func (a *aws) ask(ctx context.Context, action string, in, out any) error {
	err := a.clouds.ask(ctx, http.MethodPost, sigv4.Endpoint("secretsmanager", a.region)+"/", in, out, func(ctx context.Context, r *http.Request, body []byte) error {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "secretsmanager."+action)
		return a.clouds.AWS(ctx, r, body, a.region, "secretsmanager")
	}, func(b []byte) (code, said string) {
		var answer struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(b, &answer) // Message or message
		return answer.Type[strings.LastIndex(answer.Type, "#")+1:], answer.Message
	})
	return needs(err, mayAWS)
}

func (a *aws) Read(ctx context.Context) (Content, error) {
	var answer struct{ SecretString, VersionId string } //nolint:revive // The service's spelling.
	err := a.ask(ctx, "GetSecretValue", map[string]string{"SecretId": a.name}, &answer)
	switch {
	case cloudapi.Code(err) == "ResourceNotFoundException":
		return Content{}, nil
	case err != nil:
		return Content{}, err
	}
	return Content{[]byte(answer.SecretString), answer.VersionId}, nil
}

func (a *aws) Write(ctx context.Context, content []byte, over Content) error {
	// The same content is the same request: a second one changes nothing.
	sum := sha256.Sum256(append([]byte(a.name+"\n"), content...))
	request := map[string]string{"ClientRequestToken": hex.EncodeToString(sum[:]), "SecretString": string(content)}
	if over.Version != "" {
		request["SecretId"] = a.name
		return a.ask(ctx, "PutSecretValue", request, nil)
	}
	request["Name"], request["Description"] = a.name, "Strongroom: encrypted to one person"
	err := a.ask(ctx, "CreateSecret", request, nil)
	if cloudapi.Code(err) == "ResourceExistsException" {
		return errors.New("a secret of this name is there already")
	}
	return err
}
