package bootstrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// hidden is a text of an answer that is a secret. It stays in one buffer, which can be wiped.
type hidden []byte

// UnmarshalJSON takes a string without escapes, which is what tokens and keys are.
func (h *hidden) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return errors.New("a secret of the answer is no string")
	}
	for _, c := range b[1 : len(b)-1] {
		if c == '\\' || c < ' ' {
			return errors.New("a secret of the answer has characters that it cannot have")
		}
	}
	*h = append([]byte(nil), b[1:len(b)-1]...)
	return nil
}

// initAnswer is that of sys/init.
type initAnswer struct {
	Keys     []hidden `json:"keys_base64"`
	Recovery []hidden `json:"recovery_keys_base64"`
	Root     hidden   `json:"root_token"`
}

// initialize asks everybody, and then has the local server initialise the cluster. What the server answers exists once: it is encrypted and kept before
// anything else is done.
func (r *run) initialize(ctx context.Context) error {
	unlock, err := cluster.Lock(r.LockPath)
	if err != nil {
		return node.Hinted(fmt.Errorf("somebody else is joining or starting this node: %w", err), "wait for the other one")
	}
	defer unlock()
	own, err := r.answering(ctx)
	if err != nil {
		return err
	}
	switch {
	case r.state != nil && r.state.Answered:
		return r.adopt(own)
	case own.Initialized && r.state == nil:
		return errNothing("the server is initialised, and not by this first start: it is left alone")
	case own.Initialized:
		return node.Hinted(errors.New("the server was initialised, and its answer was lost before it could be kept: nobody has the keys of this cluster"), r.wipeHint())
	}
	if err := until(ctx, r.Limits.Others, r.Limits.Pace, r.nobodyElse); err != nil {
		return err
	}
	// Soon after a boot the clock may not be synchronised yet.
	if err := until(ctx, r.Limits.Others, r.Limits.Pace, r.passes); err != nil {
		return err
	}
	if err := r.sinksAreEmpty(ctx); err != nil {
		return err
	}
	if err := r.keysEncrypt(); err != nil {
		return err
	}
	if err := r.claim(ctx); err != nil {
		return err
	}
	// Between the question and now another one may have been faster.
	if err := r.nobodyElse(ctx); err != nil {
		return err
	}
	r.state = &progress{NodeID: r.Identity.NodeID, Seal: own.Seal, Version: own.Version, Began: r.now()}
	if err := r.save(); err != nil {
		return err
	}
	if err := r.reached("initialize: about to"); err != nil {
		return err
	}
	answer, err := r.ask(ctx, own.Seal)
	if err != nil {
		return err
	}
	defer clear(answer.Root)
	if err := r.reached("initialize: answered"); err != nil {
		return err
	}
	return r.keepAnswer(answer, own.Seal)
}

// passes judges the host.
func (r *run) passes(ctx context.Context) error {
	if err := r.Judge(ctx); err != nil {
		return node.Hinted(fmt.Errorf("this host does not pass, and initialises nothing: %w", err), "hostcheck verify says which controls fail")
	}
	return nil
}

func (r *run) wipeHint() string {
	return "nothing can be in it yet: stop the server, wipe its storage and " + filepath.Join(r.Directory, progressFile) + ", and start again"
}

// keysEncrypt looks at the OpenPGP keys before the server does, which would be too late.
func (r *run) keysEncrypt() error {
	var errs []error
	for _, s := range r.config.Shares {
		if s.PGP == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(s.PGP)
		if err == nil {
			err = mayEncrypt(key, r.Now())
		}
		if err != nil {
			errs = append(errs, node.Hinted(fmt.Errorf("share %s: nobody can encrypt to its OpenPGP key: %w", s.Name, err), "gpg --export FINGERPRINT | base64 -w0, of a living key with a subkey that encrypts"))
		}
	}
	return errors.Join(errs...)
}

// answering waits for the local server.
func (r *run) answering(ctx context.Context) (own cluster.Says, err error) {
	err = until(ctx, r.Limits.API, r.Limits.Pace, func(ctx context.Context) (err error) {
		if own, err = r.Server.Look(ctx); err != nil {
			return node.Hinted(fmt.Errorf("the local server does not answer: %s", cluster.Words(err)), "is the server's unit running? journalctl has its log")
		}
		return nil
	})
	return own, err
}

// adopt is for a run that was cut short between the answer and the record of the step.
func (r *run) adopt(own cluster.Says) error {
	if !own.Initialized {
		return node.Hinted(errors.New("this node has initialised its server, and the server has no data: they were wiped or lost"),
			"the shares that were delivered are worthless: wipe "+r.Directory+" as well, and empty the sinks")
	}
	return nil
}

// nobodyElse asks all members. One that cannot be asked may be the cluster.
func (r *run) nobodyElse(ctx context.Context) error {
	initialized, err := r.Others(ctx)
	if len(initialized) > 0 {
		return errNothing(fmt.Sprintf("the cluster is there already: %s is initialised. This node joins it and initialises nothing", initialized[0]))
	}
	if err != nil {
		return node.Hinted(fmt.Errorf("not every other member could be asked, and one of them may be the cluster: %w", err), "start them, or take them out of the join block")
	}
	return nil
}

// shamir reports whether people unseal with the shares, rather than a service.
func shamir(seal string) bool { return seal == "shamir" }

func (r *run) ask(ctx context.Context, seal string) (initAnswer, error) {
	prefix := "recovery_"
	if shamir(seal) {
		prefix = "secret_"
	}
	request := map[string]any{prefix + "shares": len(r.config.Shares), prefix + "threshold": r.config.Threshold}
	if r.config.Shares[0].PGP != "" {
		var keys []string
		for _, s := range r.config.Shares {
			keys = append(keys, s.PGP)
		}
		request[map[bool]string{true: "pgp_keys", false: "recovery_pgp_keys"}[shamir(seal)]] = keys
	}
	var raw json.RawMessage
	defer func() { clear(raw) }()
	if err := r.Server.Ask(ctx, http.MethodPut, "sys/init", nil, nil, request, &raw); err != nil {
		if own, looked := r.Server.Look(ctx); looked == nil && own.Initialized {
			return initAnswer{}, node.Hinted(fmt.Errorf("the server is initialised and nobody has its keys: %s", cluster.Words(err)), r.wipeHint())
		}
		return initAnswer{}, node.Hinted(fmt.Errorf("the server refuses: %s", cluster.Words(err)), "about a key: it must be the public key of an encryption key, gpg --export FINGERPRINT | base64 -w0")
	}
	var answer initAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return initAnswer{}, errors.New("cannot read the server's answer")
	}
	return answer, nil
}

// keepAnswer encrypts what the server has answered, and keeps it.
func (r *run) keepAnswer(answer initAnswer, seal string) error {
	keys, kind := answer.Recovery, "recovery"
	if shamir(seal) {
		keys, kind = answer.Keys, "unseal"
	}
	defer func() {
		for _, k := range append(answer.Keys, answer.Recovery...) {
			if !shamir(seal) || r.config.Shares[0].Age == "" {
				clear(k)
			}
		}
	}()
	if len(keys) != len(r.config.Shares) || len(answer.Root) == 0 {
		return fmt.Errorf("the server has answered with %d shares, not with %d", len(keys), len(r.config.Shares))
	}
	for i, share := range r.config.Shares {
		e, err := r.envelope(kind, share, keys[i])
		if err != nil {
			return err
		}
		r.state.Envelopes = append(r.state.Envelopes, e)
		if shamir(seal) && share.Age != "" {
			r.plain = append(r.plain, keys[i])
		}
	}
	sealed, err := sealRoot(r.KeyPath, answer.Root)
	if err != nil {
		return err
	}
	r.root = append([]byte(nil), answer.Root...)
	r.state.Root, r.state.Answered = sealed, true
	return r.save()
}

// unseal brings the server to the lead. With seal shamir and shares that this run has in memory it unseals; otherwise the seal's service does,
// or the key holders.
func (r *run) unseal(ctx context.Context) error {
	return until(ctx, r.Limits.Active, r.Limits.Pace, func(ctx context.Context) error {
		own, err := r.Server.Look(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("the local server does not answer any more: %s", cluster.Words(err))
		case own.Sealed && shamir(own.Seal) && len(r.plain) >= r.config.Threshold:
			for _, key := range r.plain[:r.config.Threshold] {
				if err := r.Server.Ask(ctx, http.MethodPut, "sys/unseal", nil, nil, map[string]string{"key": string(key)}, nil); err != nil {
					return fmt.Errorf("cannot unseal: %s", cluster.Words(err))
				}
			}
			return errors.New("the server was unsealed, and does not lead yet")
		case own.Sealed && shamir(own.Seal):
			return node.Hinted(errors.New("the server is sealed and waits for its key holders"), "unseal this node with the shares; then the first start goes on")
		case own.Sealed:
			return node.Hinted(fmt.Errorf("the server is sealed (%s)", own.Seal), "can this node reach the seal's service, and may it use the key? journalctl has the server's log")
		case !own.Active:
			return errors.New("the server does not lead yet")
		}
		r.state.ClusterID, r.state.Version, r.state.Seal = own.ClusterID, own.Version, own.Seal
		return nil
	})
}
