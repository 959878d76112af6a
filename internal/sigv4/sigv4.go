// Package sigv4 signs requests to AWS, and to what is compatible with its S3.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// Keys are credentials; those of an instance's role have a token and end.
type Keys struct {
	ID            string
	Secret, Token node.Secret
}

// Endpoint is where a service of a region is asked, without a slash at its end.
func Endpoint(service, region string) string {
	endpoint := "https://" + service + "." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		endpoint += ".cn"
	}
	return endpoint
}

// Sign puts a signature of version 4 on a request: every header that is there is signed, and the host, the path and the query. digest
// is that of the body, in hexadecimal. docs.aws.amazon.com, IAM user guide, "Create a signed AWS API request"; the path is
// encoded once, as S3 wants it, and for the path / this is the same everywhere. The tests hold it against AWS's published vectors and
// against aws-sdk-go-v2/aws/signer/v4, which would bring 25 packages into every verb of hostcheck (docs/decisions/small-agent.md).
func Sign(request *http.Request, digest string, keys Keys, region, service string, at time.Time) {
	stamp := at.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	request.Header.Set("X-Amz-Date", stamp)
	if token := keys.Token.Reveal(); len(token) > 0 {
		request.Header.Set("X-Amz-Security-Token", string(token))
	}
	headers := map[string]string{"host": request.URL.Host}
	for name, values := range request.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	names := slices.Sorted(maps.Keys(headers))
	path := request.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", request.Method, path, canonicalQuery(request.URL.Query()))
	for _, name := range names {
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.Join(strings.Fields(headers[name]), " "))
	}
	signed := strings.Join(names, ";")
	fmt.Fprintf(&canonical, "\n%s\n%s", signed, digest)

	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	key := append([]byte("AWS4"), keys.Secret.Reveal()...)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, Digest([]byte(canonical.String()))}, "\n"))
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", keys.ID, scope, signed, signature))
}

// canonicalQuery sorts, and writes a space as %20.
func canonicalQuery(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

// EscapePath encodes a path as S3 signs it: everything but letters, digits, "-", ".", "_", "~" and "/".
func EscapePath(path string) string {
	var out strings.Builder
	for i := range len(path) {
		if c := path[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// Digest is what Sign takes.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
