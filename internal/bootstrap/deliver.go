package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/node"
)

// EnvelopeSchema names the form of an envelope.
const EnvelopeSchema = "strongroom.envelope/v1"

// Envelope is one secret on its way to one person: encrypted, with what it is for.
type Envelope struct {
	Schema     string `json:"schema"`
	Cluster    string `json:"cluster"`
	Node       string `json:"node"`
	What       string `json:"what"`                // "share alice", "provisioner"
	Kind       string `json:"kind"`                // "recovery", "unseal": a share of which key; "wrapping-token"
	Threshold  int    `json:"threshold,omitempty"` // how many shares are needed
	Shares     int    `json:"shares,omitempty"`    // how many there are
	Expires    string `json:"expires,omitempty"`
	Encryption string `json:"encryption"` // "age": its text form; "pgp": base64 of the message, whose content is the share in hexadecimal
	Recipient  string `json:"recipient"`  // the public key of age; the SHA-256 of the OpenPGP key
	Ciphertext string `json:"ciphertext"`
}

// envelope encrypts a share to its holder. With an OpenPGP key the server has done it.
func (r *run) envelope(kind string, share node.BootstrapShare, key []byte) (Envelope, error) {
	e := Envelope{Schema: EnvelopeSchema, Cluster: r.Identity.ClusterName, Node: r.Identity.NodeID, What: "share " + share.Name, Kind: kind,
		Threshold: r.config.Threshold, Shares: len(r.config.Shares), Encryption: "age", Recipient: share.Age}
	if share.PGP != "" {
		public, err := base64.StdEncoding.DecodeString(share.PGP)
		if err != nil {
			return Envelope{}, err
		}
		sum := sha256.Sum256(public)
		e.Encryption, e.Recipient, e.Ciphertext = "pgp", "sha256:"+hex.EncodeToString(sum[:]), string(key)
		message, err := base64.StdEncoding.DecodeString(e.Ciphertext)
		if err != nil || len(message) == 0 || message[0]&0x80 == 0 {
			e.Ciphertext = ""
			return Envelope{}, errors.New("the server has not encrypted a share")
		}
		return e, nil
	}
	recipient, err := node.ParseRecipient(share.Age)
	if err != nil {
		return Envelope{}, errors.New("a recipient is no public key of age")
	}
	sealed, err := encrypt(recipient, key)
	e.Ciphertext = string(sealed)
	return e, err
}

func (e Envelope) bytes() ([]byte, error) {
	b, err := json.MarshalIndent(e, "", "  ")
	return append(b, '\n'), err
}

// deliver brings each share to its place. Then the node has none any more.
func (r *run) deliver(ctx context.Context) error {
	for i, e := range r.state.Envelopes {
		if err := r.bring(ctx, r.config.Shares[i].Sink, e, false); err != nil {
			return err
		}
		if err := r.reached("deliver: " + e.What); err != nil {
			return err
		}
	}
	r.state.Envelopes = nil
	return nil
}

// bring puts one envelope into a sink and reads it back. What lies there already is replaced only when it may be.
func (r *run) bring(ctx context.Context, to node.BootstrapSink, e Envelope, replace bool) error {
	sink, err := r.open(ctx, to)
	if err != nil {
		return err
	}
	content, err := e.bytes()
	if err != nil {
		return err
	}
	there, err := sink.Read(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", to.Name(), err)
	}
	if !bytes.Equal(there.Content, content) {
		if there.Content != nil && !replace {
			return node.Hinted(fmt.Errorf("%s: something else lies there already", to.Name()), "it may be a share of another cluster: choose another place")
		}
		if err := sink.Write(ctx, content, there); err != nil {
			return fmt.Errorf("%s: %w", to.Name(), err)
		}
		if there, err = sink.Read(ctx); err != nil {
			return fmt.Errorf("%s: cannot read back: %w", to.Name(), err)
		}
		if !bytes.Equal(there.Content, content) {
			return fmt.Errorf("%s: what is read back is not what was written", to.Name())
		}
	}
	for i, d := range r.state.Delivered {
		if d.What == e.What {
			r.state.Delivered = append(r.state.Delivered[:i:i], r.state.Delivered[i+1:]...)
			break
		}
	}
	r.state.Delivered = append(r.state.Delivered, Delivery{e.What, to.Name(), e.Recipient, r.now()})
	return r.save()
}

// sinksAreEmpty looks into all sinks before there is a secret: each can be reached, and nothing lies there.
func (r *run) sinksAreEmpty(ctx context.Context) error {
	var errs []error
	all := []node.BootstrapSink{r.config.Provisioner.Sink}
	for _, s := range r.config.Shares {
		all = append(all, s.Sink)
	}
	for _, to := range all {
		sink, err := r.open(ctx, to)
		if err == nil {
			var there Content
			if there, err = sink.Read(ctx); err == nil && there.Content != nil {
				err = node.Hinted(errors.New("something lies there already"), "it may be a share of another cluster: choose another place")
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", to.Name(), err))
		}
	}
	return errors.Join(errs...)
}
