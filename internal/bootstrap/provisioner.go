package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// wrapAnswer is that of a request whose answer is wrapped.
type wrapAnswer struct {
	Wrap struct {
		Token    hidden `json:"token"`
		Accessor string `json:"wrapped_accessor"`
		Seconds  int64  `json:"ttl"`
	} `json:"wrap_info"`
}

// provisioner makes the token that sets up the rest. It is wrapped by the server and encrypted here: who opens it first is the only one, and a
// second one notices.
func (r *run) provisioner(ctx context.Context) error {
	if r.state.Wrapped != nil && !r.lives(ctx, r.state.Wrapped.Accessor) {
		r.state.Wrapped = nil // it was revoked, or has expired, before this first start was over
	}
	if r.state.Wrapped == nil {
		if err := r.wrap(ctx); err != nil {
			return err
		}
		if err := r.save(); err != nil {
			return err
		}
		if err := r.reached("provisioner: kept"); err != nil {
			return err
		}
	}
	return r.bring(ctx, r.config.Provisioner.Sink, r.state.Wrapped.Envelope, true)
}

// lives asks whether a token is still there.
func (r *run) lives(ctx context.Context, accessor string) bool {
	token, err := r.rootToken(ctx)
	if err != nil {
		return true // said elsewhere
	}
	err = r.Server.Ask(ctx, http.MethodPost, "auth/token/lookup-accessor", nil, token, map[string]string{"accessor": accessor}, nil)
	status := cluster.StatusOf(err)
	return status != http.StatusForbidden && status != http.StatusNotFound && status != http.StatusBadRequest
}

func (r *run) wrap(ctx context.Context) error {
	token, err := r.rootToken(ctx)
	if err != nil {
		return err
	}
	p := r.config.Provisioner
	request := map[string]any{"policies": []string{"strongroom-provisioner"}, "no_default_policy": true, "ttl": p.TTL.String(),
		"display_name": "strongroom-provisioner", "renewable": true}
	headers := http.Header{"X-Vault-Wrap-Ttl": {fmt.Sprintf("%d", int64(p.Wrap/time.Second))}}
	var raw json.RawMessage
	defer func() { clear(raw) }()
	if err := r.Server.Ask(ctx, http.MethodPost, "auth/token/create-orphan", headers, token, request, &raw); err != nil {
		return fmt.Errorf("cannot make the provisioner's token: %s", cluster.Words(err))
	}
	var answer wrapAnswer
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Wrap.Token) == 0 || answer.Wrap.Accessor == "" {
		return errors.New("the server has not wrapped the provisioner's token")
	}
	defer clear(answer.Wrap.Token)
	recipient, err := node.ParseRecipient(p.Age)
	if err != nil {
		return errors.New("the provisioner's recipient is no public key of age")
	}
	sealed, err := encrypt(recipient, answer.Wrap.Token)
	if err != nil {
		return err
	}
	r.state.Wrapped = &wrapped{answer.Wrap.Accessor, Envelope{
		Schema: EnvelopeSchema, Cluster: r.Identity.ClusterName, Node: r.Identity.NodeID, What: "provisioner", Kind: "wrapping-token",
		Expires: stamp(r.Now().Add(time.Duration(answer.Wrap.Seconds) * time.Second)), Encryption: "age", Recipient: p.Age, Ciphertext: string(sealed),
	}}
	return nil
}
