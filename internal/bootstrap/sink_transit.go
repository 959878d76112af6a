package bootstrap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// transit is a file whose content another Vault or OpenBao has encrypted once more with a key of its transit engine: who opens it needs the holder's
// key and that Vault, which can refuse. What is sent there is encrypted to the holder already.
type transit struct {
	otherVault
	mount, key string
	file       file
}

func (r *run) openTransit(ctx context.Context, s node.BootstrapSink) (Sink, error) {
	other, err := r.openOther(ctx, s)
	if err != nil {
		return nil, err
	}
	return &transit{other, strings.Trim(s.Options["mount"], "/"), s.Options["key"], file(s.Options["path"])}, nil
}

// transitAnswer is that of encrypt (ciphertext) and decrypt (plaintext, in base64).
type transitAnswer struct {
	Data struct {
		Ciphertext string `json:"ciphertext"`
		Plaintext  []byte `json:"plaintext"`
	} `json:"data"`
}

func (t *transit) do(ctx context.Context, verb, name, value string) (a transitAnswer, err error) {
	return a, t.ask(ctx, http.MethodPost, t.mount+"/"+verb+"/"+t.key, map[string]string{name: value}, &a)
}

func (t *transit) encrypt(ctx context.Context, content []byte) (string, error) {
	a, err := t.do(ctx, "encrypt", "plaintext", base64.StdEncoding.EncodeToString(content))
	if err == nil && a.Data.Ciphertext == "" {
		err = errors.New("the answer has no ciphertext")
	}
	if err != nil {
		return "", fmt.Errorf("cannot encrypt with %s: %s", t.key, cluster.Words(err))
	}
	return a.Data.Ciphertext, nil
}

func (t *transit) decrypt(ctx context.Context, ciphertext string) ([]byte, error) {
	a, err := t.do(ctx, "decrypt", "ciphertext", ciphertext)
	return a.Data.Plaintext, err
}

// Read gives what was encrypted. Where there is nothing it proves that the key does both, before there is a secret.
func (t *transit) Read(ctx context.Context) (Content, error) {
	there, err := t.file.Read(ctx)
	if err != nil {
		return Content{}, err
	}
	if there.Content == nil {
		probe, err := t.encrypt(ctx, []byte("strongroom"))
		if err == nil {
			_, err = t.decrypt(ctx, probe)
		}
		if err != nil {
			return Content{}, fmt.Errorf("%s", cluster.Words(err))
		}
		return there, nil
	}
	content, err := t.decrypt(ctx, string(there.Content))
	switch {
	case cluster.StatusOf(err) == http.StatusBadRequest:
		return there, nil // it is somebody else's
	case err != nil:
		return Content{}, fmt.Errorf("cannot decrypt with %s: %s", t.key, cluster.Words(err))
	}
	return Content{Content: content, Version: there.Version}, nil
}

func (t *transit) Write(ctx context.Context, content []byte, over Content) error {
	ciphertext, err := t.encrypt(ctx, content)
	if err != nil {
		return err
	}
	return t.file.Write(ctx, []byte(ciphertext), over)
}
