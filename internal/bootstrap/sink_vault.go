package bootstrap

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// otherVault is another Vault or OpenBao.
type otherVault struct {
	server    *cluster.Server
	token     node.Secret
	namespace string
}

// openOther reads what leads to it.
func (r *run) openOther(ctx context.Context, s node.BootstrapSink) (otherVault, error) {
	ca := r.Identity.CA
	if s.CA != "" {
		b, err := r.Read(ctx, s.CA)
		if err != nil {
			return otherVault{}, err
		}
		ca = string(b)
	}
	token, err := r.Read(ctx, s.Token)
	if err != nil {
		return otherVault{}, err
	}
	return otherVault{
		server:    cluster.NewServer(s.Options["address"], s.Options["server_name"], ca, r.Certificate),
		token:     node.NewSecret(bytes.TrimSpace(token)),
		namespace: s.Options["namespace"],
	}, nil
}

func (o otherVault) ask(ctx context.Context, method, path string, in, out any) error {
	var headers http.Header
	if o.namespace != "" {
		headers = http.Header{"X-Vault-Namespace": {o.namespace}}
	}
	return o.server.Ask(ctx, method, path, headers, o.token.Reveal(), in, out)
}

// kv is a secret of a KV engine, version 2. Each write says over which version it goes.
type kv struct {
	otherVault
	path string // "MOUNT/data/PATH"
}

func (r *run) openVault(ctx context.Context, s node.BootstrapSink) (Sink, error) {
	other, err := r.openOther(ctx, s)
	if err != nil {
		return nil, err
	}
	return &kv{other, cmp.Or(strings.Trim(s.Options["mount"], "/"), "secret") + "/data/" + strings.Trim(s.Options["path"], "/")}, nil
}

// kvAnswer is that of MOUNT/data/PATH.
type kvAnswer struct {
	Data struct {
		Data     map[string]string `json:"data"`
		Metadata struct {
			Version int `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

// kvField is where the envelope lies in the secret.
const kvField = "envelope"

func (k *kv) Read(ctx context.Context) (Content, error) {
	var a kvAnswer
	err := k.ask(ctx, http.MethodGet, k.path, nil, &a)
	switch {
	case cluster.StatusOf(err) == http.StatusNotFound && cluster.Words(err) == err.Error(): // a mount that is missing has words
		return Content{}, nil
	case err != nil:
		return Content{}, fmt.Errorf("%s", cluster.Words(err))
	}
	return Content{[]byte(a.Data.Data[kvField]), fmt.Sprint(a.Data.Metadata.Version)}, nil
}

func (k *kv) Write(ctx context.Context, content []byte, over Content) error {
	request := map[string]any{
		"data":    map[string]string{kvField: string(content)},
		"options": map[string]any{"cas": cmp.Or(over.Version, "0")},
	}
	if err := k.ask(ctx, http.MethodPost, k.path, request, nil); err != nil {
		return fmt.Errorf("%s", cluster.Words(err))
	}
	return nil
}
