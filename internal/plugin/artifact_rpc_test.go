package plugin

import (
	"net"
	"os"
	"slices"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"
	"github.com/hashicorp/packer-plugin-sdk/rpc"
	"github.com/mitchellh/mapstructure"
)

// remote is an artifact as Packer sees it: over the plugin protocol. Its calls have one encoding; what Packer negotiates
// (gob or protobuf) is that of HCL specs and of the data source's values.
func remote(t *testing.T, a packersdk.Artifact) packersdk.Artifact {
	t.Helper()
	here, there := net.Pipe()
	served := make(chan error, 1)
	var server *rpc.PluginServer
	go func() {
		var err error
		if server, err = rpc.NewServer(there); err == nil {
			err = server.RegisterArtifact(a)
		}
		served <- err
		if err == nil {
			server.Serve()
		}
	}()
	client, err := rpc.NewClient(here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); here.Close(); there.Close() })
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return client.Artifact()
}

// What the in-process tests of the artifact cannot see: the types that arrive on the other side.
func TestArtifactOverRPC(t *testing.T) {
	local, _ := published(t)
	a := remote(t, local)
	if a.Id() != local.Id() || a.BuilderId() != BuilderID || a.String() != local.String() || !slices.Equal(a.Files(), local.Files()) {
		t.Errorf("arrived as %s %s %s %q", a.BuilderId(), a.Id(), a, a.Files())
	}
	// checksum, compress and shell-local assert this very type without looking, and panic on any other.
	generated, ok := a.State("generated_data").(map[any]any)
	if !ok || generated[varRootHash] != "r00t" || generated[varBaselineDigest] != "ba5e" {
		t.Errorf("generated_data arrives as %#v", a.State("generated_data"))
	}
	// Packer decodes the metadata of the registry in this way.
	var meta registryimage.Image
	if err := mapstructure.WeakDecode(a.State(registryimage.ArtifactStateURI), &meta); err != nil {
		t.Fatal(err)
	}
	if err := meta.Validate(); err != nil || meta.ImageID != local.Id() || meta.Labels["root_hash"] != "r00t" {
		t.Errorf("the registry's metadata arrives as %+v (%v)", meta, err)
	}
	if got := a.State("no such thing"); got != nil {
		t.Errorf("unknown state is %#v, want nil", got)
	}
	if err := a.Destroy(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(local.dir); !os.IsNotExist(err) {
		t.Error("the files are still there")
	}
}
