package node

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"cloud.google.com/go/compute/metadata"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// The servers of these tests speak what the providers' own clients understand, so that our client is not held against a
// mistake of ours. Azure has no client for this service.
func TestServersSpeakAsProvidersDo(t *testing.T) {
	t.Run("aws", func(t *testing.T) {
		service := &amazon{userData: nodeHCL}
		client := imds.New(imds.Options{HTTPClient: everywhere(t, service)})
		userData, err := client.GetUserData(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(userData.Content); string(content) != nodeHCL || err != nil {
			t.Errorf("got %q, %v", content, err)
		}
		instance, err := client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: "instance-id"})
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(instance.Content); string(content) != "i-0123456789abcdef0" || err != nil {
			t.Errorf("got %q, %v", content, err)
		}
		if service.tokens != 1 {
			t.Errorf("%d tokens: the client fell back to the first version", service.tokens)
		}
	})
	t.Run("gcp", func(t *testing.T) {
		client := metadata.NewClient(everywhere(t, google(nodeHCL)))
		if content, err := client.InstanceAttributeValueWithContext(t.Context(), gcpAttribute); content != nodeHCL || err != nil {
			t.Errorf("got %q, %v", content, err)
		}
		if id, err := client.InstanceIDWithContext(t.Context()); id != "4520031799277581759" || err != nil {
			t.Errorf("got %q, %v", id, err)
		}
		client = metadata.NewClient(everywhere(t, google("")))
		if _, err := client.InstanceAttributeValueWithContext(t.Context(), gcpAttribute); err == nil {
			t.Error("an attribute that is not there")
		}
	})
}

// What the libraries send, byte by byte, and what we send: the same method, path and headers of the protocol.
func TestWeAskAsProvidersDo(t *testing.T) {
	type asked struct{ method, path, flavor, token, ttl string }
	record := func(h http.Handler) (http.Handler, *[]asked) {
		var list []asked
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			list = append(list, asked{r.Method, r.URL.Path, r.Header.Get("Metadata-Flavor"), r.Header.Get(tokenHeader), r.Header.Get(ttlHeader)})
			h.ServeHTTP(w, r)
		}), &list
	}
	for name, c := range map[string]struct {
		platform Platform
		handler  func() http.Handler
		theirs   func(context.Context, *http.Client) error
	}{
		"aws": {AWS, func() http.Handler { return &amazon{userData: nodeHCL} }, func(ctx context.Context, c *http.Client) error {
			_, err := imds.New(imds.Options{HTTPClient: c}).GetUserData(ctx, nil)
			return err
		}},
		"gcp": {GCP, func() http.Handler { return google(nodeHCL) }, func(ctx context.Context, c *http.Client) error {
			_, err := metadata.NewClient(c).InstanceAttributeValueWithContext(ctx, gcpAttribute)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, theirs := record(c.handler())
			if err := c.theirs(t.Context(), everywhere(t, h)); err != nil {
				t.Fatal(err)
			}
			h, ours := record(c.handler())
			m := newMachine(t)
			m.on(c.platform)
			m.Fetcher.Dial = everywhere(t, h).Transport.(*http.Transport).DialContext
			m.expect(map[Platform]string{AWS: "aws-user-data", GCP: "gcp-attribute-" + gcpAttribute}[c.platform], nodeHCL, "")
			if len(*ours) != len(*theirs) {
				t.Fatalf("we asked %v, they %v", *ours, *theirs)
			}
			for i := range *ours {
				// How long a token lives is for the client to choose.
				(*ours)[i].ttl, (*theirs)[i].ttl = given((*ours)[i].ttl), given((*theirs)[i].ttl)
				if (*ours)[i] != (*theirs)[i] {
					t.Errorf("we asked %v, they %v", (*ours)[i], (*theirs)[i])
				}
			}
		})
	}
}

// everywhere is a client for which every address is one server on the loopback.
func everywhere(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}}}
}

func given(text string) string {
	if text == "" {
		return ""
	}
	return "given"
}
