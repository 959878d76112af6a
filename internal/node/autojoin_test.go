package node

import (
	"maps"
	"strings"
	"testing"
)

// What go-discover's own parser (v1.1.1-0.20250922102917-55e5010ad859, config.go) makes of these strings; it cannot be linked here without the
// SDKs of fourteen clouds. Both were fuzzed against each other once, with three million strings, and never differed.
func TestPairsAsGoDiscoverReadsThem(t *testing.T) {
	for text, want := range map[string]map[string]string{
		``:                              {},
		`   `:                           {},
		`key=a`:                         {"key": "a"},
		`key=a+b key2=c/d`:              {"key": "a+b", "key2": "c/d"},
		` key = a   key2 = b `:          {"key": "a", "key2": "b"},
		`"k e \\\" y" = "a \" b" x=c`:   {`k e \" y`: `a " b`, "x": "c"},
		`secret="with=equals="`:         {"secret": "with=equals="},
		`zone_pattern=us-(?west).+`:     {"zone_pattern": "us-(?west).+"},
		`tag_value="consul server"`:     {"tag_value": "consul server"},
		`a="b"c=d`:                      {"a": "b", "c": "d"},
		`a=b"c`:                         {"a": `b"c`},
		`a="" b=c`:                      {"a": "", "b": "c"},
		`a='b`:                          {"a": "'b"},
		`a=b\n`:                         {"a": `b\n`},
		`a="\x41\u00e9"`:                {"a": "Aé"},
		`""=a`:                          {"": "a"},
		`key`:                           nil,
		`key=`:                          nil,
		`key="a`:                        nil,
		`key="\`:                        nil,
		`key="\q"`:                      nil,
		`key=a key=b`:                   nil,
		`key key2`:                      nil,
		`=a`:                            nil,
		`a==b`:                          nil,
		`a=b=c`:                         nil,
		`a='b c'`:                       nil,
		`provider=aws foo`:              nil,
		"provider=aws\ttag_key=strange": nil, // refused there too, for another reason
	} {
		got, err := parsePairs(text)
		if want == nil && err == nil || want != nil && (err != nil || !maps.Equal(got, want)) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseAutoJoin(t *testing.T) {
	for text, c := range map[string]struct {
		platform Platform
		err      string // part; empty: none
	}{
		`provider=aws tag_key=strongroom tag_value="prod eu"`:                                     {AWS, ""},
		`provider=aws tag_key=a tag_value=b addr_type=public_v6 region=us-gov-west-1 service=ec2`: {AWS, ""},
		`provider=aws tag_key=a tag_value=b endpoint=https://ec2.eu-west-1.api.aws`:               {AWS, ""},
		`provider=gce tag_value=a`: {GCP, ""},
		`provider=gce tag_value=a project_name=example.com:prod-1 zone_pattern="europe-west1-[bc]"`:           {GCP, ""},
		`provider=azure tag_name=a tag_value=b`:                                                               {Azure, ""},
		`provider=azure resource_group=a vm_scale_set=b subscription_id=01234567-89ab-cdef-0123-456789abcdef`: {Azure, ""},
		`provider=azure tag_name=a tag_value=b client_id=01234567-89AB-cdef-0123-456789abcdef`:                {Azure, ""},
		``:                                    {"", "names no provider"},
		`provider="" tag_key=a`:               {"", "names no provider"},
		`provider=mdns service=_vault`:        {"", `no provider "mdns"`},
		`provider=k8s namespace=a`:            {"", "aws, gce and azure; name leaders or srv"},
		`provider=gcp tag_value=a`:            {"", `no provider "gcp"`},
		`provider=aws tag_key=a`:              {"", "provider aws needs tag_value"},
		`provider=aws`:                        {"", "needs tag_key and tag_value"},
		`provider=aws tag_key="" tag_value=b`: {"", "needs tag_key"},
		`provider=gce project_name=a`:         {"", "provider gce needs tag_value"},
		`provider=azure`:                      {"", "needs tag_name and tag_value"},
		`provider=azure vm_scale_set=b`:       {"", "needs resource_group"},
		`provider=azure tag_value=b`:          {"", "needs tag_name"},
		`provider=azure tag_name=a tag_value=b vm_scale_set=c`:                     {"", "do not go together"},
		`provider=azure tag_name=a tag_value=b tenant_id=c`:                        {"", "azure has no tenant_id here"},
		`provider=gce tag_value=a credentials_file=/etc/x`:                         {"", "gce has no credentials_file here"},
		`provider=aws tag_key=a tag_value=b adr_type=x`:                            {"", "aws has no adr_type here"},
		`provider=aws tag_key=a tag_value=b service=ecs`:                           {"", "no task of ECS"},
		`provider=aws tag_key=a tag_value=b addr_type=private`:                     {"", "private_v4, public_v4 or public_v6"},
		`provider=aws tag_key=a tag_value=b region=eu/x`:                           {"", "no region"},
		`provider=aws tag_key=a tag_value=b region=evil.example.net`:               {"", "no region"},
		`provider=aws tag_key=a tag_value=b endpoint=http://a.example.net`:         {"", "no https URL of a host"},
		`provider=aws tag_key=a tag_value=b endpoint=https://a.example.net/x`:      {"", "no https URL of a host"},
		`provider=aws tag_key=a tag_value=b endpoint="https://a.example.net/?x=y"`: {"", "no https URL of a host"},
		`provider=aws tag_key=a tag_value=b endpoint=https://u:p@a.example.net`:    {"", "no https URL of a host"},
		`provider=gce tag_value=a project_name=../x`:                               {"", "no project"},
		`provider=gce tag_value=a zone_pattern=us-(?west|east).*`:                  {"", "no regular expression"},
		`provider=azure tag_name=a tag_value=b subscription_id=../x`:               {"", "no UUID"},
		`provider=aws tag_key=a tag_value=with=equals`:                             {"", "double quotes"},
	} {
		got, err := ParseAutoJoin(text)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got error %v, want %q", text, err, c.err)
		}
		if got.Platform != c.platform {
			t.Errorf("%s: platform %q", text, got.Platform)
		}
	}
}

// A secret is refused by its key, wherever it stands, and its value is not repeated.
func TestAutoJoinRepeatsNoSecret(t *testing.T) {
	for _, text := range []string{
		`provider=aws secret_access_key=PLANTED`, `provider=aws secret_access_key=PLANTED== tag_key=a`, `provider=azure "Secret_Access_Key"="PLANTED"`,
		`secret_access_key=PLANTED`, `provider=aws session_token="PLANTED`, `provider=x api_key = PLANTED`,
	} {
		if secretKey(text) == "" {
			t.Errorf("%s: no secret", text)
		}
		if _, err := ParseAutoJoin(text); err == nil || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`provider=gce tag_value=a credentials_file=b`, `provider=aws tag_key=a tag_value="my secret token"`} {
		if key := secretKey(text); key != "" {
			t.Errorf("%s: a secret in %s", text, key)
		}
	}
}

func FuzzParseAutoJoin(f *testing.F) {
	f.Add(`provider=aws tag_key=strongroom tag_value="prod \"eu\"" region=eu-central-1`)
	f.Add(`provider=gce tag_value=a zone_pattern=europe-west1-.*`)
	f.Add(`provider=azure resource_group=a vm_scale_set=b`)
	f.Add(`key="\`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAutoJoin(text)
		if err != nil {
			return
		}
		if a.Platform == "" || len(a.Options) == 0 || a.Options["provider"] != "" {
			t.Errorf("%q: %+v", text, a)
		}
		if secretKey(text) != "" {
			t.Errorf("%q: accepted with a secret", text)
		}
	})
}

// Discovery asks for documents of its own.
func TestAsk(t *testing.T) {
	m := newMachine(t)
	m.on(AWS)
	m.net.hosts[metadataAddress] = serve((&amazon{ttl: 2}).ServeHTTP)
	for range 5 { // the token ends, and another one is fetched
		status, content, err := m.Ask(t.Context(), AWS, "/latest/meta-data/instance-id", 100)
		if err != nil || status != 200 || string(content) != "i-0123456789abcdef0" {
			t.Fatalf("got %d %q %v", status, content, err)
		}
	}
	if status, content, err := m.Ask(t.Context(), AWS, "/latest/meta-data/absent", 100); err != nil || status != 404 || content != nil {
		t.Errorf("got %d %q %v", status, content, err)
	}
	if _, _, err := m.Ask(t.Context(), AWS, "/latest/meta-data/instance-id", 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("got %v", err)
	}
	if _, _, err := m.Ask(t.Context(), GCP, "/", 100); err == nil || !strings.Contains(err.Error(), "no instance of gcp") {
		t.Errorf("got %v", err)
	}
	m.Sources.asked, m.Metadata = nil, nil
	if _, _, err := m.Ask(t.Context(), AWS, "/", 100); err == nil || !strings.Contains(err.Error(), "metadata_egress") {
		t.Errorf("got %v", err)
	}
}
