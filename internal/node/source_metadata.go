package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"sync"
	"time"
)

// The wire of the three metadata services is small: a header, a few paths, and plain text. The providers' libraries for it,
// measured in a program that has net/http and TLS already: feature/ec2/imds 1.18.2 of AWS adds 450 KB of binary and
// 0.8 MiB of resident memory, compute/metadata 0.9.0 of Google 410 KB and 0.7 MiB, before they have done anything, and
// to every verb of the program; Azure has none. They would also not keep our rules (no redirect, one deadline, a bound on the
// body). So the wire is spoken here, and the tests hold it against those libraries.

// service is the metadata service of the machine.
type service struct {
	dialect
	fetcher   Fetcher
	endpoints []netip.Addr // at which the firewall lets it be asked
	endpoint  netip.Addr   // that has answered
	token     string
}

// dialect is how one provider's service is asked.
type dialect struct {
	platform  Platform
	endpoints []string
	host      string // of the request; "": the endpoint's address
	header    http.Header
	config    string // path of node.hcl
	instance  string // path of the machine's name
	name      string // of node.hcl, in messages
	// session asks for a token first.
	session bool
	// decode undoes what the service does to the document.
	decode func([]byte) ([]byte, error)
	// genuine reports whether an answer is the service's own. Nil: there is no telling.
	genuine func(http.Header) bool
	// later are statuses that ask to come again, beside 429 and 5xx.
	later int
}

// The paths: docs.aws.amazon.com (EC2 user guide, instance metadata), cloud.google.com (compute, metadata),
// learn.microsoft.com (Azure instance metadata service).
func dialectOf(p Platform) (dialect, bool) {
	switch p {
	case AWS:
		return dialect{
			platform: AWS, endpoints: []string{"169.254.169.254", "fd00:ec2::254"}, session: true,
			config: "/latest/user-data", instance: "/latest/meta-data/instance-id", name: "aws-user-data",
		}, true
	case GCP:
		return dialect{
			platform: GCP, endpoints: []string{"169.254.169.254"}, host: "metadata.google.internal",
			header: http.Header{"Metadata-Flavor": {"Google"}},
			config: "/computeMetadata/v1/instance/attributes/" + gcpAttribute, instance: "/computeMetadata/v1/instance/id",
			name:    "gcp-attribute-" + gcpAttribute,
			genuine: func(h http.Header) bool { return h.Get("Metadata-Flavor") == "Google" },
		}, true
	case Azure:
		const version = "?api-version=2021-01-01&format=text"
		return dialect{
			platform: Azure, endpoints: []string{"169.254.169.254"},
			header: http.Header{"Metadata": {"true"}},
			config: "/metadata/instance/compute/userData" + version, instance: "/metadata/instance/compute/vmId" + version,
			name: "azure-user-data", decode: decodeBase64, later: http.StatusGone,
		}, true
	}
	return dialect{}, false
}

// gcpAttribute is the key of the instance's custom metadata.
const gcpAttribute = "strongroom-node-hcl"

// service gives the machine's metadata service, or errNone.
func (s *Sources) service() (*service, error) {
	if s.asked != nil {
		return s.asked, nil
	}
	d, known := dialectOf(s.platform())
	if !known {
		return nil, errNone
	}
	v := &service{dialect: d, fetcher: s.fetcher("the metadata service of " + string(d.platform))}
	for _, text := range d.endpoints {
		a := netip.MustParseAddr(text)
		for _, p := range s.Metadata {
			if p.Contains(a) {
				v.endpoints = append(v.endpoints, a)
				break
			}
		}
	}
	if len(v.endpoints) == 0 {
		s.Log.Info("the metadata service is not asked, because the image's parameter metadata_egress does not admit it", "platform", d.platform)
		return nil, errNone
	}
	s.asked = v
	return v, nil
}

// metadata is the user data of an instance.
func (s *Sources) metadata(ctx context.Context) (Document, error) {
	v, err := s.service()
	if err != nil {
		return Document{}, err
	}
	content, err := v.read(ctx, v.config, maxConfigSize)
	switch {
	case errors.Is(err, errOff):
		s.Log.Warn("the metadata service is turned off for this instance", "platform", v.platform)
		return Document{}, errNone
	case errors.Is(err, errNone):
		return Document{}, err
	case err != nil:
		return Document{}, Hinted(fmt.Errorf("cannot ask the metadata service of %s for node.hcl: %w", v.platform, err),
			"this machine runs there by what its firmware says, so the service must answer, if only that there is none; "+
				"hand node.hcl over as a credential to do without it")
	}
	if v.decode != nil {
		if content, err = v.decode(content); err != nil {
			return Document{}, fmt.Errorf("%s is not a node.hcl: %w", v.name, err)
		}
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return Document{}, errNone
	}
	return Document{v.name, content}, nil
}

// instanceName is what the providers' names look like, and what may become part of a node's id.
var instanceName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{2,62}$`) })

// Machine finds out which machine this is. A service that does not answer is an error: with another answer on the next boot
// the node would take its own data for that of another machine.
func (s *Sources) Machine(ctx context.Context) (Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, machineTimeout)
	defer cancel()
	m := Machine{Platform: s.platform(), Firmware: s.firmwareUUID()}
	v, err := s.service()
	if errors.Is(err, errNone) {
		return m, nil
	}
	if err != nil {
		return Machine{}, err
	}
	content, err := v.read(ctx, v.instance, 1<<10)
	switch {
	case errors.Is(err, errOff):
		return m, nil
	case err != nil:
		return Machine{}, fmt.Errorf("cannot ask the metadata service of %s which instance this is: %w", v.platform, err)
	case !instanceName().Match(bytes.TrimSpace(content)):
		return Machine{}, fmt.Errorf("cannot use the answer of the metadata service of %s: %.80q is not the name of an instance", v.platform, content)
	}
	m.Instance = string(bytes.TrimSpace(content))
	return m, nil
}

// machineTimeout leaves the rest of the unit's time to node.hcl and to TLS material.
const machineTimeout = 10 * time.Second

// errOff says that the operator has turned the service off.
var errOff = errors.New("turned off")

// Ask gives what the metadata service answers at a path, asked once: the status, and with 200 the content. It is an error when the machine
// does not run on that platform, by what its firmware says, or its image does not let the service be asked.
func (s *Sources) Ask(ctx context.Context, on Platform, path string, limit int64) (status int, content []byte, err error) {
	v, err := s.serviceOf(on)
	if err != nil {
		return 0, nil, err
	}
	a, err := v.get(ctx, path, limit)
	switch {
	case errors.Is(err, errOff):
		return 0, nil, Hinted(errors.New("the metadata service is turned off for this instance"), "an instance shows who it is through that service")
	case err != nil:
		return 0, nil, fmt.Errorf("cannot ask the metadata service: %w", err)
	}
	return a.status, a.body, nil
}

// Tell posts a document to a path of the metadata service, once, and gives the status of the answer. Azure's is the only one that takes any.
func (s *Sources) Tell(ctx context.Context, on Platform, path string, document []byte) (status int, err error) {
	v, err := s.serviceOf(on)
	if err != nil {
		return 0, err
	}
	header := v.header.Clone()
	header.Set("Content-Type", "application/json")
	a, err := v.ask(ctx, v.endpoints[0], http.MethodPost, path, header, document, 64<<10)
	if err != nil {
		return 0, fmt.Errorf("cannot tell the metadata service: %w", err)
	}
	return a.status, nil
}

// serviceOf is the machine's metadata service, when it runs on this platform.
func (s *Sources) serviceOf(on Platform) (*service, error) {
	if s.platform() != on {
		return nil, fmt.Errorf("this machine is no instance of %s, by what its firmware says", on)
	}
	v, err := s.service()
	if errors.Is(err, errNone) {
		return nil, Hinted(errors.New("the image does not let the metadata service be asked"), "its parameter metadata_egress")
	}
	return v, err
}

// read gives the document at a path, errNone or errOff.
func (v *service) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	var content []byte
	err := v.fetcher.untilAnswered(ctx, func(ctx context.Context) error {
		a, err := v.get(ctx, path, limit)
		if err != nil {
			return err
		}
		switch {
		case a.status == http.StatusOK:
			content = a.body
			return nil
		case a.status == http.StatusNotFound:
			return errNone
		case v.later != 0 && a.status == v.later:
			return passing{a.refusal()}
		}
		return a.refusal()
	})
	return content, err
}

// get asks the endpoint that has answered before, or else each.
func (v *service) get(ctx context.Context, path string, limit int64) (answer, error) {
	endpoints := v.endpoints
	if v.endpoint.IsValid() {
		endpoints = []netip.Addr{v.endpoint}
	}
	var errs []error
	for _, endpoint := range endpoints {
		a, err := v.getFrom(ctx, endpoint, path, limit)
		var p passing
		if err == nil || !errors.As(err, &p) {
			v.endpoint = endpoint
			return a, err
		}
		errs = append(errs, err)
	}
	return answer{}, passing{errors.Join(errs...)}
}

func (v *service) getFrom(ctx context.Context, endpoint netip.Addr, path string, limit int64) (answer, error) {
	if !v.session {
		return v.ask(ctx, endpoint, http.MethodGet, path, v.header, nil, limit)
	}
	for fresh := v.token == ""; ; fresh = true {
		if fresh {
			if err := v.open(ctx, endpoint); err != nil {
				return answer{}, err
			}
		}
		a, err := v.ask(ctx, endpoint, http.MethodGet, path, http.Header{tokenHeader: {v.token}}, nil, limit)
		if err != nil || a.status != http.StatusUnauthorized || fresh {
			return a, err
		}
	}
}

// Version 2 of Amazon's service. Its first version, which asks for no token, is never spoken.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// open asks for a token. It lives for as long as a boot may need one.
func (v *service) open(ctx context.Context, endpoint netip.Addr) error {
	a, err := v.ask(ctx, endpoint, http.MethodPut, "/latest/api/token", http.Header{ttlHeader: {"300"}}, nil, 4<<10)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusForbidden:
		return errOff
	case a.status != http.StatusOK:
		return fmt.Errorf("it gives no token: %w", a.refusal())
	}
	v.token = string(a.body)
	return nil
}

func (v *service) ask(ctx context.Context, endpoint netip.Addr, method, path string, header http.Header, body []byte, limit int64) (answer, error) {
	address := endpoint.String()
	if endpoint.Is6() {
		address = "[" + address + "]"
	}
	u, err := url.Parse("http://" + address + path)
	if err != nil {
		return answer{}, err
	}
	a, err := v.fetcher.ask(ctx, exchange{
		method: method, body: body, url: u, host: v.host, header: header, limit: limit, addresses: []netip.Addr{endpoint},
	})
	if err == nil && v.genuine != nil && (a.status == http.StatusOK || a.status == http.StatusNotFound) && !v.genuine(a.header) {
		return answer{}, errors.New("what answers there is not the metadata service: the header Metadata-Flavor is missing")
	}
	return a, err
}

func decodeBase64(b []byte) ([]byte, error) {
	out, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil {
		return nil, Hinted(errors.New("it is not base64"), "Azure hands out user data as base64, and takes it so: base64 -w0 node.hcl")
	}
	return out, nil
}
