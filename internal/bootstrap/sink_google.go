package bootstrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"

	"github.com/strongroom/strongroom/internal/cloudapi"
)

// google is a secret of Google Secret Manager. The wire: its REST reference, v1; the tests hold it against google.golang.org/api/secretmanager/v1.
type google struct {
	clouds        Clouds
	project, name string
}

const (
	googleHost = "https://secretmanager.googleapis.com/v1/"
	mayGoogle  = "secretmanager.secrets.create, versions.add and versions.access"
)

func (g *google) ask(ctx context.Context, method, path string, in, out any) error {
	err := g.clouds.ask(ctx, method, googleHost+path, in, out, cloudapi.Bearer(g.clouds.Google), func(b []byte) (code, said string) {
		var answer struct {
			Error struct{ Status, Message string }
		}
		_ = json.Unmarshal(b, &answer)
		return answer.Error.Status, answer.Error.Message
	})
	return needs(err, mayGoogle)
}

func (g *google) parent() string { return "projects/" + url.PathEscape(g.project) + "/secrets" }

func (g *google) secret() string { return g.parent() + "/" + url.PathEscape(g.name) }

// castagnoli is made on first use: a table for each start of hostcheck would be one too many.
func crc(b []byte) string { return fmt.Sprint(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

func (g *google) Read(ctx context.Context) (Content, error) {
	var answer struct {
		Name    string
		Payload struct {
			Data       []byte
			DataCrc32c string
		}
	}
	err := g.ask(ctx, http.MethodGet, g.secret()+"/versions/latest:access", nil, &answer)
	switch {
	case cloudapi.Code(err) == "NOT_FOUND":
		return Content{}, nil
	case err != nil:
		return Content{}, err
	case answer.Payload.DataCrc32c != "" && answer.Payload.DataCrc32c != crc(answer.Payload.Data):
		return Content{}, errors.New("what was read has another checksum than the store says")
	}
	return Content{answer.Payload.Data, answer.Name}, nil
}

func (g *google) Write(ctx context.Context, content []byte, over Content) error {
	if over.Version == "" {
		err := g.ask(ctx, http.MethodPost, g.parent()+"?secretId="+url.QueryEscape(g.name), map[string]any{"replication": map[string]any{"automatic": map[string]any{}}}, nil)
		// One without a version is what an earlier run has left.
		if err != nil && cloudapi.Code(err) != "ALREADY_EXISTS" {
			return err
		}
	}
	return g.ask(ctx, http.MethodPost, g.secret()+":addVersion", map[string]any{
		"payload": map[string]string{"data": base64.StdEncoding.EncodeToString(content), "dataCrc32c": crc(content)},
	}, nil)
}
