package node

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nodeHCL is a node.hcl as far as a source looks at it.
const nodeHCL = "cluster {\n  name = \"test\"\n}\n"

// machine is a root tree without any source, and a network without any host.
type machine struct {
	Sources
	t    *testing.T
	net  *wire
	logs *bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, net: newWire(), logs: &bytes.Buffer{}}
	m.Sources = Sources{
		Root: t.TempDir(), Credentials: t.TempDir(),
		Metadata: []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("fd00:ec2::254/128")},
		Fetcher:  Fetcher{Dial: m.net.dial, Lookup: lookup("config.example", "192.0.2.1")},
		Log:      slog.New(slog.NewTextHandler(m.logs, nil)),
	}
	m.put("proc/cmdline", "console=ttyS0 quiet\n")
	m.put("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x00")
	return m
}

func (m *machine) put(path, content string) {
	m.t.Helper()
	path = filepath.Join(m.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) dmi(fields ...string) {
	m.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		m.put("sys/class/dmi/id/"+fields[i], fields[i+1]+"\n")
	}
}

func (m *machine) on(p Platform) {
	m.t.Helper()
	switch p {
	case AWS:
		m.dmi("sys_vendor", "Amazon EC2", "product_name", "m7i.large", "product_uuid", "ec2f0a5c-1111-2222-3333-444455556666")
	case GCP:
		m.dmi("sys_vendor", "Google", "product_name", "Google Compute Engine")
	case Azure:
		m.dmi("sys_vendor", "Microsoft Corporation", "product_name", "Virtual Machine", "chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77")
	}
}

// expect looks for node.hcl and for the error.
func (m *machine) expect(source, content, wantErr string) {
	m.t.Helper()
	d, err := m.Find(m.t.Context())
	switch {
	case wantErr == "" && err != nil, wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
		m.t.Errorf("got error %v, want one with %q", err, wantErr)
	case err == nil && (d.Source != source || string(d.Content) != content):
		m.t.Errorf("got %q from %s, want %q from %s", d.Content, d.Source, content, source)
	}
}

const metadataAddress = "169.254.169.254:80"

// amazon is the Instance Metadata Service, version 2.
type amazon struct {
	mu       sync.Mutex
	userData string // "": none
	ttl      int    // requests that a token is good for; 0: any number
	tokens   int
	used     int
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Path == "/latest/api/token" {
		if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" || r.Header.Get("X-Forwarded-For") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.tokens++
		a.used = 0
		w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
		fmt.Fprintf(w, "token-%d", a.tokens)
		return
	}
	a.used++
	if r.Header.Get("X-aws-ec2-metadata-token") != fmt.Sprintf("token-%d", a.tokens) || a.ttl > 0 && a.used > a.ttl {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Path == "/latest/user-data" && a.userData != "":
		fmt.Fprint(w, a.userData)
	case r.URL.Path == "/latest/meta-data/instance-id":
		fmt.Fprint(w, "i-0123456789abcdef0")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func google(attribute string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google", r.Host != "metadata.google.internal" && r.Host != "169.254.169.254":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/computeMetadata/v1/instance/attributes/strongroom-node-hcl" && attribute != "":
			fmt.Fprint(w, attribute)
		case r.URL.Path == "/computeMetadata/v1/instance/id":
			fmt.Fprint(w, "4520031799277581759")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func microsoft(userData string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("Metadata") != "true", q.Get("api-version") < "2021-01-01", q.Get("format") != "text":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/metadata/instance/compute/userData":
			fmt.Fprint(w, userData)
		case r.URL.Path == "/metadata/instance/compute/vmId":
			fmt.Fprint(w, "02aab8a4-74ef-476e-8182-f6d2ba4166a6")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// What each source alone gives, and what is made of one that is broken.
func TestSources(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte(nodeHCL))
	cases := map[string]struct {
		prepare func(*machine)
		source  string
		wantErr string
		asked   bool // somebody on the network
	}{
		"nothing":          {wantErr: "no node.hcl was found"},
		"no credentials":   {prepare: func(m *machine) { m.Credentials = "" }, wantErr: "no node.hcl was found"},
		"credential":       {prepare: func(m *machine) { credential(m, nodeHCL) }, source: "strongroom.node.hcl"},
		"credential first": {prepare: func(m *machine) { credential(m, nodeHCL); m.on(AWS); m.net.silent(metadataAddress) }, source: "strongroom.node.hcl"},
		"empty credential": {prepare: func(m *machine) { credential(m, "\n"); onDisk(m, nodeHCL) }, wantErr: "credential strongroom.node.hcl is empty"},
		"huge credential": {prepare: func(m *machine) { credential(m, strings.Repeat("#", 64<<10+1)) },
			wantErr: "cannot read credential strongroom.node.hcl: it has more than 65536 bytes"},

		"aws":                   {prepare: func(m *machine) { aws(m, &amazon{userData: nodeHCL}); onDisk(m, "other") }, source: "aws-user-data", asked: true},
		"aws without user data": {prepare: func(m *machine) { aws(m, &amazon{}); onDisk(m, nodeHCL) }, source: ConfigPath, asked: true},
		"aws turned off":        {prepare: func(m *machine) { m.on(AWS); m.net.hosts[metadataAddress] = serve(status(403)); onDisk(m, nodeHCL) }, source: ConfigPath, asked: true},
		"aws over IPv6": {prepare: func(m *machine) {
			m.on(AWS)
			m.net.hosts["[fd00:ec2::254]:80"] = serve((&amazon{userData: nodeHCL}).ServeHTTP)
		}, source: "aws-user-data", asked: true},
		"aws over IPv6 beside a hole": {prepare: func(m *machine) {
			m.on(AWS)
			m.net.swallowed(metadataAddress)
			m.net.hosts["[fd00:ec2::254]:80"] = serve((&amazon{userData: nodeHCL}).ServeHTTP)
		}, source: "aws-user-data", asked: true},
		"aws not admitted": {prepare: func(m *machine) { aws(m, &amazon{userData: nodeHCL}); m.Metadata = nil; onDisk(m, nodeHCL) }, source: ConfigPath},
		"aws hangs":        {prepare: func(m *machine) { m.on(AWS); m.net.silent(metadataAddress); onDisk(m, nodeHCL) }, wantErr: "cannot ask the metadata service of aws", asked: true},
		"aws swallows":     {prepare: func(m *machine) { m.on(AWS); m.net.swallowed(metadataAddress); onDisk(m, nodeHCL) }, wantErr: "no answer within 5s", asked: true},
		"aws refuses":      {prepare: func(m *machine) { m.on(AWS); onDisk(m, nodeHCL) }, wantErr: "connection refused", asked: true},
		"aws drips":        {prepare: func(m *machine) { m.on(AWS); m.net.hosts[metadataAddress] = serve(drips(1)) }, wantErr: "broke off", asked: true},
		"aws breaks":       {prepare: func(m *machine) { m.on(AWS); m.net.hosts[metadataAddress] = serve(status(500)); onDisk(m, nodeHCL) }, wantErr: "it gives no token: the server answered 500", asked: true},
		"aws redirects":    {prepare: func(m *machine) { m.on(AWS); m.net.hosts[metadataAddress] = serve(redirect(1)) }, wantErr: "redirects are not followed", asked: true},
		"aws huge":         {prepare: func(m *machine) { aws(m, &amazon{userData: strings.Repeat("#", 64<<10+1)}) }, wantErr: "more than 65536 bytes", asked: true},
		"aws cloud-config": {prepare: func(m *machine) { aws(m, &amazon{userData: "#cloud-config\nusers: []\n"}); onDisk(m, nodeHCL) },
			wantErr: `aws-user-data is not a node.hcl: it begins with "#cloud-config", which is for cloud-init`, asked: true},

		"gcp":                   {prepare: func(m *machine) { m.on(GCP); m.net.hosts[metadataAddress] = serve(google(nodeHCL)) }, source: "gcp-attribute-strongroom-node-hcl", asked: true},
		"gcp without attribute": {prepare: func(m *machine) { m.on(GCP); m.net.hosts[metadataAddress] = serve(google("")); onDisk(m, nodeHCL) }, source: ConfigPath, asked: true},
		"gcp impostor":          {prepare: func(m *machine) { m.on(GCP); m.net.hosts[metadataAddress] = serve(status(404)); onDisk(m, nodeHCL) }, wantErr: "is not the metadata service", asked: true},
		"gcp hangs":             {prepare: func(m *machine) { m.on(GCP); m.net.silent(metadataAddress); onDisk(m, nodeHCL) }, wantErr: "cannot ask the metadata service of gcp", asked: true},

		"azure":                   {prepare: func(m *machine) { m.on(Azure); m.net.hosts[metadataAddress] = serve(microsoft(b64)) }, source: "azure-user-data", asked: true},
		"azure without user data": {prepare: func(m *machine) { m.on(Azure); m.net.hosts[metadataAddress] = serve(microsoft("")); onDisk(m, nodeHCL) }, source: ConfigPath, asked: true},
		"azure not encoded":       {prepare: func(m *machine) { m.on(Azure); m.net.hosts[metadataAddress] = serve(microsoft(nodeHCL)) }, wantErr: "it is not base64", asked: true},
		"azure twice encoded": {prepare: func(m *machine) {
			m.on(Azure)
			m.net.hosts[metadataAddress] = serve(microsoft(base64.StdEncoding.EncodeToString([]byte(b64))))
		}, wantErr: "it was encoded once too often", asked: true},
		"azure asleep": {prepare: func(m *machine) {
			m.on(Azure)
			m.net.hosts[metadataAddress] = serve(inTurn(status(410), status(429), microsoft(b64)))
		}, source: "azure-user-data", asked: true},
		"azure hangs": {prepare: func(m *machine) { m.on(Azure); m.net.silent(metadataAddress); onDisk(m, nodeHCL) }, wantErr: "cannot ask the metadata service of azure", asked: true},

		// Hyper-V of one's own, QEMU, a board: nobody is asked, whoever answers there.
		"hyper-v": {prepare: func(m *machine) {
			m.dmi("sys_vendor", "Microsoft Corporation", "product_name", "Virtual Machine", "chassis_asset_tag", "7783-7084")
			m.net.hosts[metadataAddress] = serve(microsoft(b64))
			onDisk(m, nodeHCL)
		}, source: ConfigPath},
		"qemu": {prepare: func(m *machine) {
			m.dmi("sys_vendor", "QEMU")
			m.net.hosts[metadataAddress] = serve((&amazon{userData: "x"}).ServeHTTP)
			onDisk(m, nodeHCL)
		}, source: ConfigPath},
		"board": {prepare: func(m *machine) {
			m.dmi("sys_vendor", "Dell Inc.", "product_name", "PowerEdge R760")
			onDisk(m, nodeHCL)
		}, source: ConfigPath},

		"file of another": {prepare: func(m *machine) { onDisk(m, nodeHCL); m.must(os.Chown(filepath.Join(m.Root, ConfigPath), 12345, -1)) }, wantErr: "it belongs to user 12345"},
		"file for all":    {prepare: func(m *machine) { onDisk(m, nodeHCL); m.must(os.Chmod(filepath.Join(m.Root, ConfigPath), 0o622)) }, wantErr: "others may write to it (mode 0622)"},
		"link": {prepare: func(m *machine) {
			onDisk(m, nodeHCL)
			m.must(os.Rename(filepath.Join(m.Root, ConfigPath), filepath.Join(m.Root, "elsewhere")))
			m.must(os.Symlink(filepath.Join(m.Root, "elsewhere"), filepath.Join(m.Root, ConfigPath)))
		}, wantErr: "it is not a regular file"},
		"empty file":  {prepare: func(m *machine) { onDisk(m, " ") }, wantErr: "it is empty"},
		"gzip":        {prepare: func(m *machine) { onDisk(m, "\x1f\x8b\x08") }, wantErr: "compressed with gzip"},
		"script":      {prepare: func(m *machine) { onDisk(m, "#!/bin/sh\necho") }, wantErr: `it is a script ("#!/bin/sh")`},
		"MIME":        {prepare: func(m *machine) { onDisk(m, "Content-Type: multipart/mixed; boundary=x\n") }, wantErr: "a MIME message"},
		"ignition":    {prepare: func(m *machine) { onDisk(m, `{"ignition":{}}`) }, wantErr: "it is JSON"},
		"base64":      {prepare: func(m *machine) { onDisk(m, b64+"\n") }, wantErr: "it is base64"},
		"certificate": {prepare: func(m *machine) { onDisk(m, "-----BEGIN CERTIFICATE-----\n") }, wantErr: "it is PEM"},
		"page":        {prepare: func(m *machine) { onDisk(m, "<!DOCTYPE html>") }, wantErr: "a page for a browser"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "file of another") && os.Getuid() != 0 {
				t.Skip("SKIPPED: only root can give a file away")
			}
			synctest.Test(t, func(t *testing.T) {
				m, begin := newMachine(t), time.Now()
				if c.prepare != nil {
					c.prepare(m)
				}
				m.expect(c.source, nodeHCL, c.wantErr)
				if took := time.Since(begin); took > 30*time.Second {
					t.Errorf("took %v", took)
				}
				if asked := m.net.dials() > 0; asked != c.asked {
					t.Errorf("the network was asked: %t", asked)
				}
			})
		})
	}
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func credential(m *machine, content string) {
	m.t.Helper()
	m.must(os.WriteFile(filepath.Join(m.Credentials, CredentialConfig), []byte(content), 0o400))
}

func onDisk(m *machine, content string) { m.put(ConfigPath, content) }

func aws(m *machine, a *amazon) {
	m.on(AWS)
	m.net.hosts[metadataAddress] = serve(a.ServeHTTP)
}

// inTurn gives each request to the next of several servers, and to the last for good.
func inTurn(list ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := list[min(n, len(list)-1)]
		n++
		mu.Unlock()
		h(w, r)
	}
}

// A token that has expired is replaced once; a service that takes none at all is an error.
func TestSourcesRenewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, service := newMachine(t), &amazon{userData: nodeHCL, ttl: 1}
		aws(m, service)
		m.expect("aws-user-data", nodeHCL, "")
		if got, err := m.Machine(t.Context()); err != nil || got.Instance != "i-0123456789abcdef0" {
			t.Errorf("got %+v, %v", got, err)
		}
		if service.tokens != 2 {
			t.Errorf("%d tokens were asked for, want 2", service.tokens)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.on(AWS)
		m.net.hosts[metadataAddress] = serve(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut {
				w.WriteHeader(http.StatusUnauthorized)
			}
			fmt.Fprint(w, "token")
		})
		m.expect("", "", "the server answered 401")
	})
}

// No token, no document and no query goes to the log, however often a source is asked.
func TestSourcesLogNothingSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.on(AWS)
		m.net.hosts[metadataAddress] = serve(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				fmt.Fprint(w, "hush-token")
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "hush-body")
		})
		m.expect("", "", "the server answered 503")
		if !strings.Contains(m.logs.String(), "waiting for node.hcl") || strings.Contains(m.logs.String(), "hush") {
			t.Errorf("log:\n%s", m.logs)
		}
	})
}

func TestMachine(t *testing.T) {
	const board = "4c4c4544-0042-3510-8051-b9c04f4d3132"
	cases := map[string]struct {
		prepare func(*machine)
		want    string
		wantErr string
	}{
		"aws":            {prepare: func(m *machine) { aws(m, &amazon{}) }, want: "aws i-0123456789abcdef0"},
		"gcp":            {prepare: func(m *machine) { m.on(GCP); m.net.hosts[metadataAddress] = serve(google("")) }, want: "gcp 4520031799277581759"},
		"azure":          {prepare: func(m *machine) { m.on(Azure); m.net.hosts[metadataAddress] = serve(microsoft("")) }, want: "azure 02aab8a4-74ef-476e-8182-f6d2ba4166a6"},
		"aws turned off": {prepare: func(m *machine) { m.on(AWS); m.net.hosts[metadataAddress] = serve(status(403)) }, want: "firmware ec2f0a5c-1111-2222-3333-444455556666"},
		"aws hangs":      {prepare: func(m *machine) { m.on(AWS); m.net.silent(metadataAddress) }, wantErr: "which instance this is"},
		"no name": {prepare: func(m *machine) { m.on(GCP); m.net.hosts[metadataAddress] = serve(wrongName) },
			wantErr: `"../../etc/passwd" is not the name of an instance`},
		"board":         {prepare: func(m *machine) { m.dmi("sys_vendor", "Dell Inc.", "product_uuid", strings.ToUpper(board)) }, want: "firmware " + board},
		"zeros":         {prepare: func(m *machine) { m.dmi("product_uuid", "00000000-0000-0000-0000-000000000000") }},
		"ones":          {prepare: func(m *machine) { m.dmi("product_uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff") }},
		"default":       {prepare: func(m *machine) { m.dmi("product_uuid", "03000200-0400-0500-0006-000700080009") }},
		"not settable":  {prepare: func(m *machine) { m.dmi("product_uuid", "Not Settable") }},
		"no tables":     {},
		"not permitted": {prepare: func(m *machine) { m.on(AWS); m.Metadata = nil }, want: "firmware ec2f0a5c-1111-2222-3333-444455556666"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, begin := newMachine(t), time.Now()
				if c.prepare != nil {
					c.prepare(m)
				}
				got, err := m.Machine(t.Context())
				if first := append(got.Names(), "")[0]; first != c.want || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("got %q, %v; want %q, %q", got, err, c.want, c.wantErr)
				}
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func wrongName(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	fmt.Fprint(w, "../../etc/passwd")
}

func TestSourceURL(t *testing.T) {
	const url = "https://config.example/node.hcl?token=hush"
	option := func(text string) string {
		return "ADDRESS=10.0.0.2\nOPTION_224=" + hex.EncodeToString([]byte(text)) + "\n"
	}
	lease := func(m *machine, index, content string) { m.put("run/systemd/netif/leases/"+index, content) }
	const shownURL = "https://config.example/node.hcl?…"
	cases := map[string]struct {
		prepare func(*machine)
		source  string
		wantErr string
	}{
		"by DHCP":                {prepare: func(m *machine) { lease(m, "2", option(url)) }, source: shownURL},
		"by DHCP, ended by NUL":  {prepare: func(m *machine) { lease(m, "2", option(url+"\x00")) }, source: shownURL},
		"by two DHCP servers":    {prepare: func(m *machine) { lease(m, "2", option(url)); lease(m, "3", option(url)) }, source: shownURL},
		"by one of two":          {prepare: func(m *machine) { lease(m, "2", "ADDRESS=10.0.0.2\n"); lease(m, "3", option(url)) }, source: shownURL},
		"DHCP servers disagree":  {prepare: func(m *machine) { lease(m, "2", option(url)); lease(m, "3", option(url+"2")) }, wantErr: "two interfaces name different URLs"},
		"lease half written":     {prepare: func(m *machine) { lease(m, ".#2abc", option(url)); onDisk(m, nodeHCL) }, source: ConfigPath},
		"lease without option":   {prepare: func(m *machine) { lease(m, "2", "ADDRESS=10.0.0.2\nOPTION_225=00\n"); onDisk(m, nodeHCL) }, source: ConfigPath},
		"lease of another form":  {prepare: func(m *machine) { lease(m, "2", "OPTION_224=\"https://\"\n"); onDisk(m, nodeHCL) }, wantErr: "cannot use the DHCP lease of interface 2: option 224 is not in hexadecimal"},
		"DHCP sends bytes":       {prepare: func(m *machine) { lease(m, "2", option("\x01\x02hush")); onDisk(m, nodeHCL) }, wantErr: "holds bytes that no URL has"},
		"DHCP sends http":        {prepare: func(m *machine) { lease(m, "2", option("http://config.example/")); onDisk(m, nodeHCL) }, wantErr: "DHCP option 224: cannot use URL http://config.example/: its scheme is not https"},
		"by the kernel":          {prepare: func(m *machine) { cmdline(m, "strongroom.node="+url) }, source: shownURL},
		"the last of two":        {prepare: func(m *machine) { cmdline(m, `strongroom.node=x "strongroom.node=`+url+`"`) }, source: shownURL},
		"the kernel before DHCP": {prepare: func(m *machine) { cmdline(m, "strongroom.node="+url); lease(m, "2", option("https://evil.example/")) }, source: shownURL},
		"empty argument":         {prepare: func(m *machine) { cmdline(m, "strongroom.node="); onDisk(m, nodeHCL) }, source: ConfigPath},
		"similar arguments":      {prepare: func(m *machine) { cmdline(m, "xstrongroom.node="+url+" strongroom.nodes="+url); onDisk(m, nodeHCL) }, source: ConfigPath},
		"Secure Boot": {prepare: func(m *machine) {
			cmdline(m, "strongroom.node="+url)
			m.put("sys/firmware/efi/efivars/"+secureBootVariable, "\x06\x00\x00\x00\x01")
			onDisk(m, nodeHCL)
		}, wantErr: "the kernel argument strongroom.node is refused while Secure Boot is on"},
		"Secure Boot, by DHCP": {prepare: func(m *machine) {
			lease(m, "2", option(url))
			m.put("sys/firmware/efi/efivars/"+secureBootVariable, "\x06\x00\x00\x00\x01")
		}, source: shownURL},
		"Secure Boot unknown": {prepare: func(m *machine) {
			cmdline(m, "strongroom.node="+url)
			m.must(os.Remove(filepath.Join(m.Root, "sys/firmware/efi/efivars", secureBootVariable)))
		}, wantErr: "nothing can be said about Secure Boot: the firmware's variables are not there"},
		"Secure Boot garbled": {prepare: func(m *machine) {
			cmdline(m, "strongroom.node="+url)
			m.put("sys/firmware/efi/efivars/"+secureBootVariable, "\x06\x00\x00\x00\x02")
		}, wantErr: "an unknown form"},
		"firmware without Secure Boot": {prepare: func(m *machine) {
			cmdline(m, "strongroom.node="+url)
			m.must(os.Rename(filepath.Join(m.Root, "sys/firmware/efi/efivars", secureBootVariable), filepath.Join(m.Root, "sys/firmware/efi/efivars/Lang-8be4df61")))
		}, source: shownURL},
		"no UEFI": {prepare: func(m *machine) {
			cmdline(m, "strongroom.node="+url)
			m.must(os.RemoveAll(filepath.Join(m.Root, "sys/firmware")))
		}, source: shownURL},
		"no authority in the image": {prepare: func(m *machine) {
			lease(m, "2", option(url))
			m.must(os.Remove(filepath.Join(m.Root, URLAuthorityPath)))
			onDisk(m, nodeHCL)
		}, wantErr: "bake the image with node_config_ca"},
		"broken authority": {prepare: func(m *machine) {
			lease(m, "2", option(url))
			m.put(URLAuthorityPath, "-----BEGIN x")
			onDisk(m, nodeHCL)
		}, wantErr: "cannot use " + URLAuthorityPath},
		"no authority baked": {prepare: func(m *machine) { lease(m, "2", option(url)); m.put(URLAuthorityPath, "# none\n\n") }, wantErr: "the image has no authority for it"},
		"another authority": {prepare: func(m *machine) {
			lease(m, "2", option(url))
			other, _, _ := certificate(m.t, time.Now(), time.Now().Add(time.Hour), "config.example")
			m.put(URLAuthorityPath, string(other))
			onDisk(m, nodeHCL)
		}, wantErr: "the server cannot be trusted"},
		"server hangs": {prepare: func(m *machine) { lease(m, "2", option(url)); m.net.silent("192.0.2.1:443"); onDisk(m, nodeHCL) }, wantErr: "no answer within 5s"},
		"empty document": {prepare: func(m *machine) { lease(m, "2", option("https://config.example/empty")); onDisk(m, nodeHCL) },
			wantErr: "the document at https://config.example/empty is empty"},
		"a page": {prepare: func(m *machine) { lease(m, "2", option("https://config.example/page")); onDisk(m, nodeHCL) },
			wantErr: "https://config.example/page is not a node.hcl: it is a page for a browser"},
		"missing": {prepare: func(m *machine) { lease(m, "2", option("https://config.example/missing")); onDisk(m, nodeHCL) },
			wantErr: "DHCP option 224 names a URL for node.hcl: cannot fetch https://config.example/missing: the server answered 404 Not Found"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				cert, key, _ := certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "config.example")
				m.put(URLAuthorityPath, string(cert))
				m.net.https(t, "192.0.2.1:443", cert, key, func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.RequestURI() {
					case "/node.hcl?token=hush":
						fmt.Fprint(w, nodeHCL)
					case "/empty":
					case "/page":
						fmt.Fprint(w, "<html>")
					default:
						w.WriteHeader(http.StatusNotFound)
					}
				})
				c.prepare(m)
				m.expect(c.source, nodeHCL, c.wantErr)
				if _, err := m.Find(t.Context()); strings.Contains(m.logs.String(), "hush") || err != nil && strings.Contains(err.Error(), "hush") {
					t.Errorf("the query was told: %v\n%s", err, m.logs)
				}
			})
		})
	}
}

func cmdline(m *machine, arguments string) {
	m.put("proc/cmdline", "quiet "+arguments+" console=ttyS0\n")
}

// Leases that systemd-networkd of both distributions wrote when dnsmasq 2.90 sent the option to them.
func TestLeasesOfNetworkd(t *testing.T) {
	for _, version := range []string{"systemd-252", "systemd-257"} {
		content, err := os.ReadFile(filepath.Join("testdata/leases", version))
		if err != nil {
			t.Fatal(err)
		}
		if value, err := leaseValue(content); value != "https://config.example.net/node.hcl" || err != nil {
			t.Errorf("%s: got %q, %v", version, value, err)
		}
	}
}

func FuzzLease(f *testing.F) {
	for _, version := range []string{"systemd-252", "systemd-257"} {
		content, err := os.ReadFile(filepath.Join("testdata/leases", version))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("OPTION_224="))
	f.Add([]byte("OPTION_224=zz\nOPTION_224=68"))
	f.Fuzz(func(t *testing.T, lease []byte) {
		value, err := leaseValue(lease)
		if (value == "") != (err != nil) {
			t.Errorf("got %q and %v", value, err)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q may not be shown to people", value)
		}
	})
}

func FuzzRecognise(f *testing.F) {
	for _, s := range []string{nodeHCL, "#cloud-config", "\x1f\x8b", "{", "\xef\xbb\xbf#!", strings.Repeat("QUJD", 20)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := recognise(Document{"x", content}); err != nil && len(err.Error()) > 600 {
			t.Errorf("a message of %d bytes", len(err.Error()))
		}
	})
}
