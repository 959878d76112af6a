package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"
)

// Document is a node.hcl, unread, and where it comes from.
type Document struct {
	Source  string // for people and as the file's name in messages: "strongroom.node.hcl", "aws-user-data", a URL, a path
	Content []byte
}

// Sources are the places where a node.hcl can be, on the machine whose / is Root. They are asked in this order, and the
// first that has one wins:
//
//  1. the systemd credential strongroom.node.hcl
//  2. the metadata service of the cloud on which the firmware says that the machine runs, and no other
//  3. a document at an HTTPS URL, which the kernel's command line or the DHCP server names
//  4. the file /var/lib/hostcheck/node.hcl
//
// A source that says "none" is passed over. One that cannot say, or has something else, is an error, and the ones behind
// it are not asked: they could hold what the operator has replaced, and the node would join as what it no longer is.
type Sources struct {
	Root        string         // "/" on a node
	Credentials string         // $CREDENTIALS_DIRECTORY; "": there are none
	Metadata    []netip.Prefix // where the image's firewall lets metadata services be asked
	Fetcher     Fetcher
	Log         *slog.Logger

	asked *service // remembered, with its token
}

// findTimeout bounds the whole search, below the TimeoutStartSec= of hostcheck-configure.service: whatever hangs, the
// unit ends with a reason of its own and the boot goes on.
const findTimeout = 30 * time.Second

// errNone says that a source has been asked and has no node.hcl.
var errNone = errors.New("none")

// source gives a document, or errNone.
type source func(context.Context) (Document, error)

// Find gives this node's node.hcl.
func (s *Sources) Find(ctx context.Context) (Document, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for _, from := range []source{s.credential, s.metadata, s.url, s.file} {
		d, err := from(ctx)
		if errors.Is(err, errNone) {
			continue
		}
		if err == nil {
			err = recognise(d)
		}
		if err != nil {
			return Document{}, err
		}
		return d, nil
	}
	return Document{}, Hinted(
		fmt.Errorf("no node.hcl was found: no credential %s, no user data, no URL, no file %s", CredentialConfig, ConfigPath),
		"hand it to the node by SMBIOS type 11 (io.systemd.credential.binary:"+CredentialConfig+"=BASE64), on the ESP "+
			"(loader/credentials/"+CredentialConfig+".cred), or as the user data of the instance")
}

// credential is what the hypervisor or the boot partition handed over.
func (s *Sources) credential(context.Context) (Document, error) {
	// systemd need not make the directory when it has nothing to put there.
	if s.Credentials == "" {
		return Document{}, errNone
	}
	content, err := readLimited(filepath.Join(s.Credentials, CredentialConfig), maxConfigSize)
	switch {
	case isNotExist(err):
		return Document{}, errNone
	case err != nil:
		return Document{}, fmt.Errorf("cannot read credential %s: %w", CredentialConfig, err)
	case len(bytes.TrimSpace(content)) == 0:
		return Document{}, fmt.Errorf("credential %s is empty", CredentialConfig)
	}
	return Document{CredentialConfig, content}, nil
}

func (s *Sources) fetcher(what string) Fetcher {
	f := s.Fetcher
	f.Retried = func(err error) { s.Log.Warn("waiting for node.hcl", "from", what, "error", err) }
	return f
}

func (s *Sources) path(p string) string { return filepath.Join(s.Root, p) }
