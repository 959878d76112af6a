// Package release resolves a version of Vault or OpenBao to a verified program on this machine: the vendor's checksums, their
// signature by a pinned key, the archive, and the program in it. It keeps what it has verified, and works from that without
// a network.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-version"
)

// Request says which release, from where, and by whose word.
type Request struct {
	Product string // one of Products
	Version string // "1.21.1", or a constraint such as "~> 1.21.0"
	// Mirror is an https:// address that serves the vendor's files under their own names (VERSION/… for vault,
	// vVERSION/… for openbao), with index.json where constraints are used. "" is the vendor itself.
	Mirror      string
	Authorities []byte // PEM: who may speak for the mirror, in place of the system's authorities
	// Key and Fingerprints replace the vendor's own: public keys, armored or not, and which of them count. Fingerprints
	// without Key choose among the vendor's.
	Key          []byte
	Fingerprints []string
	At           time.Time     // when keys and signatures must be valid; zero is now
	Cache        string        // directory
	Offline      bool          // nothing but the cache
	Timeout      time.Duration // for everything together; zero is 10 minutes
}

// Release is a program that has been verified.
type Release struct {
	Product string
	Version string
	Path    string // of the program, in the cache
	SHA256  string // of the program
}

// resolver is a request that makes sense.
type resolver struct {
	vendor       vendor
	wanted       wanted
	base, index  string
	fingerprints []string
	ring         keyring
	client       client
	cache        cache
	at           time.Time
	offline      bool
}

// Check says everything that is wrong with a request, without a network and without the cache.
func (r Request) Check() error {
	_, err := r.resolver()
	return err
}

func (r Request) resolver() (resolver, error) {
	var wrong []error
	v, known := vendors[r.Product]
	if !known {
		wrong = append(wrong, fmt.Errorf("product: %q is not one of %s", r.Product, strings.Join(Products(), ", ")))
	}
	s := resolver{vendor: v, base: v.base, index: v.index, cache: cache{r.Cache}, at: r.At, offline: r.Offline}
	if s.at.IsZero() {
		s.at = time.Now()
	}
	var err error
	if s.wanted, err = parseWanted(r.Version); err != nil {
		wrong = append(wrong, err)
	}
	if r.Mirror != "" {
		if err := checkURL(r.Mirror); err != nil {
			wrong = append(wrong, fmt.Errorf("mirror: %w", err))
		}
		s.base = strings.TrimRight(r.Mirror, "/")
		s.index = s.base + "/index.json"
	}
	if s.client, err = newClient(r.Authorities); err != nil {
		wrong = append(wrong, fmt.Errorf("mirror_ca: %w", err))
	}
	if r.Cache == "" {
		wrong = append(wrong, errors.New("cache_directory: is required here, because this user has no cache directory"))
	}
	for _, f := range r.Fingerprints {
		n, err := normalFingerprint(f)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("fingerprints: %w", err))
			continue
		}
		s.fingerprints = append(s.fingerprints, n)
	}
	key := v.key
	switch {
	case len(r.Key) > 0 && len(r.Fingerprints) == 0:
		wrong = append(wrong, errors.New("fingerprints: are required with key_file: they pin what the file must hold"))
	case len(r.Key) > 0:
		key = r.Key
	case len(r.Fingerprints) == 0:
		s.fingerprints = v.fingerprints
	}
	if len(wrong) == 0 {
		if s.ring, err = newKeyring(key, s.fingerprints); err != nil {
			wrong = append(wrong, fmt.Errorf("key_file: %w", err))
		}
	}
	return s, errors.Join(wrong...)
}

// Resolve finds the release, fetches it unless it is there, and verifies it.
func Resolve(ctx context.Context, r Request) (Release, error) {
	s, err := r.resolver()
	if err != nil {
		return Release{}, err
	}
	timeout := r.Timeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name, err := s.choose(ctx)
	if err != nil {
		return Release{}, err
	}
	found, err := s.cached(name)
	if err == nil {
		return found, nil
	}
	if s.offline {
		return Release{}, fmt.Errorf("%s %s is not in the cache %s, and offline is set: %w", s.vendor.product, name, s.cache.dir, err)
	}
	found, err = s.fetch(ctx, name)
	if err != nil {
		return Release{}, fmt.Errorf("%s %s: %w", s.vendor.product, name, err)
	}
	return found, nil
}

// choose settles on one version.
func (s resolver) choose(ctx context.Context) (string, error) {
	if s.wanted.exact != "" {
		return s.wanted.exact, nil
	}
	if s.offline {
		list, err := s.cache.versions(s.vendor.product)
		if err != nil {
			return "", err
		}
		if name, ok := s.wanted.newest(list); ok {
			return name, nil
		}
		return "", fmt.Errorf("no version of %s in the cache %s fits %q, and offline is set", s.vendor.product, s.cache.dir, s.wanted.constraint)
	}
	text, err := s.client.get(ctx, s.index, maxIndex)
	if err != nil {
		return "", fmt.Errorf("%w\nhint: name an exact version, or set offline = true to choose among those in the cache", err)
	}
	list, err := s.vendor.versions(text)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", s.index, err)
	}
	name, ok := s.wanted.newest(list)
	if !ok {
		return "", fmt.Errorf("no version in %s fits %q", s.index, s.wanted.constraint)
	}
	return name, nil
}

// layout is where the vendor has a version.
func (s resolver) layout(name string) layout {
	v := version.Must(version.NewVersion(name)) // parseWanted and newest let nothing else through
	return s.vendor.files(v, name)
}

// judge checks checksums and their signature, and gives name and digest of the archive.
func (s resolver) judge(l layout, sums, signature []byte) (archive, digest string, err error) {
	if err := s.ring.verify(sums, signature, s.at); err != nil {
		return "", "", fmt.Errorf("%s: %w", l.sums, err)
	}
	archive, digest, err = findSum(sums, l.archives)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", l.sums, err)
	}
	return archive, digest, nil
}

// cached is a release in the cache, when all of it is there and all of it is right.
func (s resolver) cached(name string) (Release, error) {
	l, dir := s.layout(name), s.cache.version(s.vendor.product, name)
	sums, err := os.ReadFile(filepath.Join(dir, sumsName))
	if err != nil {
		return Release{}, err
	}
	signature, err := os.ReadFile(filepath.Join(dir, signatureName))
	if err != nil {
		return Release{}, err
	}
	archive, digest, err := s.judge(l, sums, signature)
	if err != nil {
		return Release{}, err
	}
	file := filepath.Join(s.cache.object(digest), archiveName)
	have, err := digestOf(file)
	if err != nil {
		return Release{}, err
	}
	if have != digest {
		return Release{}, fmt.Errorf("%s has changed: its SHA-256 is %s, not %s", file, have, digest)
	}
	h := sha256.New()
	if err := extract(file, archive, s.vendor.program, maxProgram, h); err != nil {
		return Release{}, err
	}
	program := filepath.Join(s.cache.object(digest), s.vendor.program)
	have, err = digestOf(program)
	if err != nil {
		return Release{}, err
	}
	if want := hex.EncodeToString(h.Sum(nil)); have != want {
		return Release{}, fmt.Errorf("%s has changed: its SHA-256 is %s, not %s", program, have, want)
	}
	return Release{Product: s.vendor.product, Version: name, Path: program, SHA256: have}, nil
}

// fetch brings a release into the cache. Whatever goes wrong leaves the cache as it was.
func (s resolver) fetch(ctx context.Context, name string) (Release, error) {
	l := s.layout(name)
	base := s.base + "/" + l.directory + "/"
	sums, err := s.client.get(ctx, base+l.sums, maxSums)
	if err != nil {
		return Release{}, err
	}
	signature, err := s.signature(ctx, base, l)
	if err != nil {
		return Release{}, err
	}
	archive, digest, err := s.judge(l, sums, signature)
	if err != nil {
		return Release{}, err
	}

	dir, err := s.cache.partial()
	if err != nil {
		return Release{}, err
	}
	defer os.RemoveAll(dir)
	object, signed := filepath.Join(dir, "object"), filepath.Join(dir, "version")
	if err := errors.Join(os.Mkdir(object, 0o755), os.Mkdir(signed, 0o755)); err != nil {
		return Release{}, err
	}
	have, err := s.client.download(ctx, base+archive, filepath.Join(object, archiveName), maxArchive)
	if err != nil {
		return Release{}, err
	}
	if have != digest {
		return Release{}, fmt.Errorf("%s: its SHA-256 is %s, and the signed checksums say %s", archive, have, digest)
	}
	sum, err := s.unpack(object, archive)
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", archive, err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(signed, sumsName), sums, 0o644),
		os.WriteFile(filepath.Join(signed, signatureName), signature, 0o644),
		// The version last: whoever finds it finds what it names.
		s.cache.publish(object, s.cache.object(digest)),
	); err != nil {
		return Release{}, err
	}
	if err := s.cache.publish(signed, s.cache.version(s.vendor.product, name)); err != nil {
		return Release{}, err
	}
	return Release{Product: s.vendor.product, Version: name, Path: filepath.Join(s.cache.object(digest), s.vendor.program), SHA256: sum}, nil
}

// signature fetches the first signature that is published.
func (s resolver) signature(ctx context.Context, base string, l layout) ([]byte, error) {
	var missing error
	for _, name := range l.signatures(s.fingerprints) {
		text, err := s.client.get(ctx, base+name, maxSignature)
		if !errors.Is(err, errNotFound) {
			return text, err
		}
		missing = err
	}
	return nil, fmt.Errorf("%s has no signature: %w", l.sums, missing)
}

// unpack writes the program of an archive beside it and gives its SHA-256.
func (s resolver) unpack(dir, archive string) (sum string, err error) {
	f, err := os.OpenFile(filepath.Join(dir, s.vendor.program), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if err := extract(filepath.Join(dir, archiveName), archive, s.vendor.program, maxProgram, io.MultiWriter(f, h)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), f.Sync()
}
