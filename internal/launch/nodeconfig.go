package launch

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/strongroom/strongroom/internal/node"
)

// NodeConfig reads node.hcl for nodes of an image. It must be what those nodes accept: their parser knows no place
// for a secret other than a reference, and refuses what stands in one's place. Whoever may look at a launch template
// reads what is in it.
func NodeConfig(path string, image Image) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if what := secretIn(text); what != "" {
		return nil, fmt.Errorf("%s holds %s; a launch template is no place for secrets: refer to it, as in \"credential:strongroom.seal.token\" (docs/node-config.md)", path, what)
	}
	return text, parseNodeConfig(filepath.Base(path), text, image)
}

func parseNodeConfig(name string, text []byte, image Image) error {
	baked := []node.Image{{Server: image.Server, ClusterPort: image.ClusterPort, MemoryLock: image.MemoryLock}}
	if image.Unknown {
		// Another builder's image: what was put into it is not known here. The node judges that again.
		baked = nil
		for _, server := range []string{"vault", "openbao"} {
			for _, lock := range []bool{false, true} {
				baked = append(baked, node.Image{Server: server, ClusterPort: 8201, MemoryLock: lock})
			}
		}
	}
	var first error
	for _, b := range baked {
		_, err := node.Parse(name, text, b)
		if err == nil {
			return nil
		}
		first = errors.Join(first, err)
		if !image.Unknown {
			break
		}
	}
	var mistakes node.Mistakes
	if errors.As(first, &mistakes) {
		return fmt.Errorf("the nodes would refuse it:\n%w", mistakes)
	}
	return first
}

// secrets are shapes that have no other meaning. The parser refuses a value in the place of a reference; these may
// stand anywhere, in a comment too.
var secrets = []struct {
	what  string
	shape *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"a token of Vault or OpenBao", regexp.MustCompile(`\b(hv[sbr]|[sbr])\.[A-Za-z0-9_-]{24,}`)},
	{"an access key of AWS", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`)},
	{"a key of a Google service account", regexp.MustCompile(`"private_key"\s*:`)},
	{"a key of an Azure storage account", regexp.MustCompile(`(?i)AccountKey=[A-Za-z0-9+/=]{40,}`)},
}

// secretIn names the first thing in a text that looks like a secret, and never repeats it.
func secretIn(text []byte) string {
	for _, s := range secrets {
		if s.shape.Match(text) {
			return s.what
		}
	}
	return ""
}

// Base64 is how AWS and Azure take user data.
func Base64(text []byte) string { return base64.StdEncoding.EncodeToString(text) }

// Pruned is a value as JSON without its nulls and empty lists: an API's input has hundreds of fields, and the ones
// that are not set are not sent.
func Pruned(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	return prune(tree), nil
}

func prune(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		for name, value := range t {
			if value = prune(value); value == nil || value == "" {
				delete(t, name)
			} else {
				t[name] = value
			}
		}
	case []any:
		if len(t) == 0 {
			return nil
		}
		for i := range t {
			t[i] = prune(t[i])
		}
		return slices.Clip(t)
	}
	return tree
}
