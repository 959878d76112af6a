package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/node"
)

// Sink is a place that holds one secret.
type Sink interface {
	// Read gives what lies there.
	Read(ctx context.Context) (Content, error)
	// Write replaces what was read, and fails when something else lies there by now.
	Write(ctx context.Context, content []byte, over Content) error
}

// Content is what lies in a sink.
type Content struct {
	Content []byte // nil: nothing
	Version string // of the sink; empty: nothing
}

// maxContent is more than any envelope has.
const maxContent = 256 << 10

// open makes a sink of what node.hcl says.
func (r *run) open(ctx context.Context, s node.BootstrapSink) (Sink, error) {
	switch s.Type {
	case "file":
		return file(s.Options["path"]), nil
	case "vault":
		return r.openVault(ctx, s)
	case "transit":
		return r.openTransit(ctx, s)
	case "aws_secrets_manager":
		return &aws{r.Clouds, s.Options["region"], s.Options["name"]}, nil
	case "gcp_secret_manager":
		return &google{r.Clouds, s.Options["project"], s.Options["name"]}, nil
	case "azure_key_vault":
		return &azure{r.Clouds, s.Options["vault_name"], s.Options["name"]}, nil
	}
	return nil, fmt.Errorf("%s: this hostcheck knows no such sink", s.Name())
}

// file is a file on a volume that is mounted.
type file string

func (f file) Read(context.Context) (Content, error) {
	// The volume's directory must be there: one that is made here would be on the node itself.
	if _, err := os.Stat(filepath.Dir(string(f))); err != nil {
		return Content{}, node.Hinted(err, "mount the volume")
	}
	in, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return Content{}, nil
	}
	if err != nil {
		return Content{}, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxContent))
	if err != nil {
		return Content{}, err
	}
	return Content{Content: append([]byte{}, b...), Version: "1"}, nil
}

func (f file) Write(_ context.Context, content []byte, over Content) error {
	if over.Version == "" {
		if _, err := os.Stat(string(f)); err == nil {
			return errors.New("somebody else has put something there")
		}
	}
	return keep(string(f), content)
}
