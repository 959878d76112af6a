package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/strongroom/strongroom/internal/node"
)

// From AWS's test suite of signature version 4: those for the path / without a query.
func TestSignAsAWSPublishes(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		method, body string
		header       http.Header
		token        string
		want         string
	}{
		"get-vanilla":  {method: "GET", want: "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"post-vanilla": {method: "POST", want: "SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		"post-x-www-form-urlencoded": {method: "POST", body: "Param1=value1", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			want: "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		"post-sts-header-before": {method: "POST", token: "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
			want: "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
		"get-header-value-trim": {method: "GET", header: http.Header{"My-Header1": {" value1"}, "My-Header2": {` "a   b   c"`}},
			want: "SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	} {
		request, err := http.NewRequest(c.method, "https://example.amazonaws.com/", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.header != nil {
			request.Header = c.header
		}
		Sign(request, Digest([]byte(c.body)), Keys{"AKIDEXAMPLE", node.NewSecret([]byte(secret)), node.NewSecret([]byte(c.token))}, "us-east-1", "service", at)
		if got := request.Header.Get("Authorization"); got != "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "+c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Whatever the request holds, AWS's own library signs it the same.
func FuzzSign(f *testing.F) {
	f.Add("Action=DescribeInstances&Filter.1.Value.1=prod+eu", "eu-central-1", "IQoJb3JpZ2luX2VjEXAMPLE==", "application/x-www-form-urlencoded; charset=utf-8", int64(1763814900))
	f.Add("", "", "", "", int64(0))
	f.Fuzz(func(t *testing.T, body, region, token, header string, seconds int64) {
		at := time.Unix(seconds%4e9, 0)
		if strings.ContainsFunc(header+token, func(r rune) bool { return r < ' ' || r > '~' }) || at.Year() < 1970 {
			return
		}
		token, header = strings.TrimSpace(token), strings.TrimSpace(header)
		made := func() *http.Request {
			request, err := http.NewRequest(http.MethodPost, "https://ec2.example.net:8443/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", header)
			return request
		}
		ours, theirs := made(), made()
		Sign(ours, Digest([]byte(body)), Keys{"AKID", node.NewSecret([]byte("secret")), node.NewSecret([]byte(token))}, region, "ec2", at)
		sum := sha256.Sum256([]byte(body))
		keys := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: token}
		if err := v4.NewSigner().SignHTTP(t.Context(), keys, theirs, hex.EncodeToString(sum[:]), "ec2", region, at); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
			if ours.Header.Get(name) != theirs.Header.Get(name) {
				t.Errorf("%s: %s, theirs %s", name, ours.Header.Get(name), theirs.Header.Get(name))
			}
		}
	})
}

// The same for paths and queries, as S3 has them.
func FuzzSignS3(f *testing.F) {
	f.Add("bucket/vault/prod eu+1~.age", "partNumber", "1", "uploadId", "a+b/c==")
	f.Add("", "list-type", "2", "prefix", "a/b c")
	f.Add("b/%2f", "uploads", "", "uploads", "")
	f.Fuzz(func(t *testing.T, path, name1, value1, name2, value2 string) {
		if strings.ContainsFunc(path+name1+value1+name2+value2, func(r rune) bool { return r < ' ' || r > '~' }) || strings.HasPrefix(path, "/") {
			return
		}
		made := func() *http.Request {
			u := url.URL{Scheme: "https", Host: "s3.example.net", RawQuery: url.Values{name1: {value1}, name2: {value2}}.Encode()}
			u.Path, u.RawPath = "/"+path, EscapePath("/"+path)
			request, err := http.NewRequest(http.MethodPut, "https://s3.example.net/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.URL = &u
			request.Header.Set("X-Amz-Content-Sha256", Digest(nil))
			return request
		}
		at := time.Unix(1763814900, 0)
		ours, theirs := made(), made()
		Sign(ours, Digest(nil), Keys{"AKID", node.NewSecret([]byte("secret")), node.Secret{}}, "eu-central-1", "s3", at)
		keys := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err := signer.SignHTTP(t.Context(), keys, theirs, Digest(nil), "s3", "eu-central-1", at); err != nil {
			t.Fatal(err)
		}
		if a, b := ours.Header.Get("Authorization"), theirs.Header.Get("Authorization"); a != b {
			t.Errorf("%s: %s, theirs %s", ours.URL, a, b)
		}
	})
}
