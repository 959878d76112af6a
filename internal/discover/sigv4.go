package discover

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// awsKeys are the temporary credentials of an instance's role.
type awsKeys struct {
	id            string
	secret, token node.Secret
}

// sign puts a signature of version 4 on a request for the path / without a query, which is how all of EC2 is asked: every header that is there
// is signed, and the host. docs.aws.amazon.com, IAM user guide, "Create a signed AWS API request". The tests hold it against AWS's published
// vectors and against aws-sdk-go-v2/aws/signer/v4, which would bring 25 packages into every verb of hostcheck (docs/decisions/small-agent.md).
func sign(request *http.Request, body []byte, keys awsKeys, region, service string, at time.Time) {
	stamp := at.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	request.Header.Set("X-Amz-Date", stamp)
	if token := keys.token.Reveal(); len(token) > 0 {
		request.Header.Set("X-Amz-Security-Token", string(token))
	}
	headers := map[string]string{"host": request.URL.Host}
	for name, values := range request.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	names := slices.Sorted(maps.Keys(headers))
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n/\n\n", request.Method)
	for _, name := range names {
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.Join(strings.Fields(headers[name]), " "))
	}
	signed := strings.Join(names, ";")
	fmt.Fprintf(&canonical, "\n%s\n%s", signed, digest(body))

	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	key := append([]byte("AWS4"), keys.secret.Reveal()...)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, digest([]byte(canonical.String()))}, "\n"))
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", keys.id, scope, signed, signature))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
