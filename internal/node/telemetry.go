package node

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TelemetryConfig is the telemetry block: [Telemetry] with its references unread.
type TelemetryConfig struct {
	StatsDAddress   string
	DogStatsDAddr   string
	DogStatsDTags   []string
	DisableHostname bool
	MetricsPrefix   string
	BasicAuth       map[string]string // user → bcrypt hash, or a reference to one
	ClientCA        Reference
	OTLPEndpoint    string // "https://collector.example.net:4318"; empty: nothing is sent
	OTLPCA          Reference
}

type telemetrySpec struct {
	StatsDAddress   string            `hcl:"statsd_address,optional"`
	DogStatsDAddr   string            `hcl:"dogstatsd_addr,optional"`
	DogStatsDTags   []string          `hcl:"dogstatsd_tags,optional"`
	DisableHostname *bool             `hcl:"disable_hostname,optional"`
	MetricsPrefix   string            `hcl:"metrics_prefix,optional"`
	BasicAuth       map[string]string `hcl:"basic_auth,optional"`
	ClientCA        string            `hcl:"client_ca,optional"`
	OTLPEndpoint    string            `hcl:"otlp_endpoint,optional"`
	OTLPCA          string            `hcl:"otlp_ca,optional"`
}

func (s *telemetrySpec) check(at locator, wrong *Mistakes) TelemetryConfig {
	t := TelemetryConfig{DisableHostname: true}
	if s == nil {
		return t
	}
	block := at.block("telemetry")
	t.StatsDAddress, t.DogStatsDAddr, t.MetricsPrefix = s.StatsDAddress, s.DogStatsDAddr, s.MetricsPrefix
	for name, address := range map[string]string{"statsd_address": s.StatsDAddress, "dogstatsd_addr": s.DogStatsDAddr} {
		if problem := hostPort(address); block.isString(name) && problem != "" {
			wrong.add(block.attribute(name), "for example \"10.0.0.5:8125\"", "%s: %s", name, problem)
		}
	}
	for i, tag := range s.DogStatsDTags {
		if tag == "" || strings.ContainsAny(tag, "|,#\n\r ") {
			wrong.add(block.element("dogstatsd_tags", i), "for example \"env:prod\"", "dogstatsd_tags: %q is not a tag", tag)
		}
		t.DogStatsDTags = append(t.DogStatsDTags, tag)
	}
	if s.DisableHostname != nil {
		t.DisableHostname = *s.DisableHostname
	}
	if block.isString("metrics_prefix") && !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,62}$`).MatchString(s.MetricsPrefix) {
		wrong.add(block.attribute("metrics_prefix"), "letters, digits, dots, dashes and underscores", "metrics_prefix %q is not a prefix", s.MetricsPrefix)
	}
	t.BasicAuth = checkBasicAuth(block, s.BasicAuth, wrong)
	t.ClientCA = reference(block, "client_ca", s.ClientCA, "", wrong)
	t.OTLPCA = reference(block, "otlp_ca", s.OTLPCA, "", wrong)
	if block.isString("otlp_endpoint") {
		t.OTLPEndpoint = s.OTLPEndpoint
		u, err := url.Parse(s.OTLPEndpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			wrong.add(block.attribute("otlp_endpoint"), "for example \"https://collector.example.net:4318\"; /v1/metrics and /v1/logs are added", "otlp_endpoint is not an https URL without a path")
		}
		t.OTLPEndpoint = strings.TrimSuffix(s.OTLPEndpoint, "/")
	}
	return t
}

// bcryptHash is what `htpasswd -nB` writes behind the colon.
const bcryptHash = `^\$2[aby]\$[0-3][0-9]\$[./A-Za-z0-9]{53}$`

// IsBcrypt reports whether a text is a bcrypt hash.
func IsBcrypt(text string) bool { return regexp.MustCompile(bcryptHash).MatchString(text) }

// checkBasicAuth does not repeat values: one may be a password that was written where its hash belongs.
func checkBasicAuth(at locator, users map[string]string, wrong *Mistakes) map[string]string {
	out := map[string]string{}
	for _, user := range slices.Sorted(maps.Keys(users)) {
		value := users[user]
		if !apiName(user, false) {
			wrong.add(at.attribute("basic_auth"), "letters, digits, dots, dashes and underscores", "basic_auth: %q is not a user name", user)
		}
		if !IsBcrypt(value) {
			r, problem, hint := ParseReference(value)
			if problem != "" {
				wrong.add(at.attribute("basic_auth"), hint+", or the bcrypt hash itself (htpasswd -nB)", "basic_auth: the value of %q is no bcrypt hash and %s", user, problem)
			}
			value = string(r)
		}
		out[user] = value
	}
	return out
}

// hostPort says what is wrong with an address of the form host:port.
func hostPort(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "it is not of the form host:port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "its port is not a port"
	}
	if _, err := netip.ParseAddr(host); err != nil && (len(host) > 253 || !hostname().MatchString(host)) {
		return "its host is neither a name nor an address"
	}
	return ""
}
