package configure_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// where is a machine that a data disk may be in.
type where struct {
	uuid     string // of the firmware
	instance string // of AWS; "": this is not AWS
}

var (
	board  = where{uuid: "4c4c4544-0042-3510-8051-b9c04f4d3132"}
	board2 = where{uuid: "4c4c4544-0042-3510-8051-b9c04f4d3133"}
	cloud  = where{uuid: "ec2f0a5c-1111-2222-3333-444455556666", instance: "i-0123456789abcdef0"}
	cloud2 = where{uuid: "ec2f0a5c-1111-2222-3333-444455556667", instance: "i-0fedcba9876543210"}
	// An instance whose metadata service was turned off.
	cloudOff = where{uuid: cloud.uuid}
	nowhere  = where{}
)

// becomes puts the root of a machine into another one.
func (w where) becomes(t *testing.T, o *configure.Options) {
	t.Helper()
	dmi := "sys/class/dmi/id"
	if err := os.RemoveAll(filepath.Join(o.Root, dmi)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(o.Root, dmi), 0o755); err != nil {
		t.Fatal(err)
	}
	if w.uuid != "" {
		put(t, o.Root, dmi+"/product_uuid", w.uuid+"\n")
	}
	if w.instance != "" {
		put(t, o.Root, dmi+"/sys_vendor", "Amazon EC2\n")
		o.Network = metadata(t, func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/latest/api/token":
				fmt.Fprint(rw, "token")
			case "/latest/meta-data/instance-id":
				fmt.Fprint(rw, w.instance)
			default:
				rw.WriteHeader(http.StatusNotFound)
			}
		})
		o.Baked.MetadataEgress = []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")}
	}
}

// metadata is a network on which everything is one server on the loopback.
func metadata(t *testing.T, h http.HandlerFunc) node.Fetcher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return node.Fetcher{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}}
}

// The node id is as old as the data partition, and says which instance it was made on.
func TestNodeID(t *testing.T) {
	const uuid, named = "30313233-3435-4637-b839-616263646566", "i-0123456789abcdef0-30313233"
	cases := map[string]struct {
		first, then where
		id          string
		movedFrom   string
		edit        func(t *testing.T, root string)
		wantErr     string
	}{
		"a board":                  {first: board, then: board, id: uuid},
		"an instance":              {first: cloud, then: cloud, id: named},
		"a machine without a name": {first: nowhere, then: nowhere, id: uuid},
		"moved":                    {first: cloud, then: cloud2, wantErr: "node " + named + " was made on aws i-0123456789abcdef0, and this is aws i-0fedcba9876543210"},
		"moved to another board":   {first: board, then: board2, wantErr: "was made on firmware " + board.uuid + ", and this is firmware " + board2.uuid},
		"moved into a cloud":       {first: board, then: cloud, wantErr: "the data partition is that of another machine"},
		"moved out of a cloud":     {first: cloud, then: board, wantErr: "and this is firmware " + board.uuid},
		"moved to a nameless one":  {first: cloud, then: nowhere, wantErr: "and this is a machine without a name"},
		"moved, said so":           {first: cloud, then: cloud2, movedFrom: "aws i-0123456789abcdef0", id: named},
		"moved, said by firmware":  {first: cloud, then: cloud2, movedFrom: "firmware " + cloud.uuid, id: named},
		"moved, said wrongly":      {first: cloud, then: cloud2, movedFrom: "aws i-0fedcba9876543210", wantErr: `moved_from = "aws i-0123456789abcdef0"`},
		"service turned off":       {first: cloud, then: cloudOff, id: named},
		"service turned on":        {first: cloudOff, then: cloud, id: uuid},
		// A nameless machine leaves no record, so nothing can be compared.
		"from a nameless one": {first: nowhere, then: board, id: uuid},
		"record damaged":      {first: board, then: board, edit: func(t *testing.T, root string) { put(t, root, configure.MachinePath, "x\n") }, wantErr: "is damaged"},
		"empty data disk": {first: cloud, then: cloud, id: "i-0123456789abcdef0-78787878", edit: func(t *testing.T, root string) {
			if err := os.RemoveAll(filepath.Join(root, "var/lib/hostcheck")); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
			o, _, _ := machine(t, creds)
			c.first.becomes(t, &o)
			if _, err := configure.Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				c.edit(t, o.Root)
			}
			c.then.becomes(t, &o)
			o.Random = strings.NewReader(strings.Repeat("x", 64))
			if c.movedFrom != "" {
				creds.Config = []byte(config + "moved_from = \"" + c.movedFrom + "\"\n")
				o.Credentials = nodetest.WriteCredentials(t, creds)
			}
			id, err := configure.Run(t.Context(), o)
			switch {
			case c.wantErr == "" && err != nil, c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
				t.Errorf("got error %v, want one with %q", err, c.wantErr)
			case err == nil && id.NodeID != c.id:
				t.Errorf("the node is %s, want %s", id.NodeID, c.id)
			}
		})
	}
}
