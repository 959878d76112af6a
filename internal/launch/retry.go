package launch

import (
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Patient is a transport that makes a request again when it was throttled (429), when the service is not there (5xx) or
// when the connection broke, and waits as long as Retry-After says, or else for
// a pause that doubles. For SDKs that do not do so themselves.
func Patient(pause time.Duration) http.RoundTripper {
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.RetryMax = 11
	client.RetryWaitMin, client.RetryWaitMax = pause, 20*pause
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return &retryablehttp.RoundTripper{Client: client}
}
