package discover_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/discover/discovertest"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// frankfurt has two members, this instance, a stopped one and a stranger.
func frankfurt() *discovertest.AWS {
	tag := map[string]string{"strongroom": "prod eu"}
	return &discovertest.AWS{Region: "eu-central-1", Domain: "amazonaws.com", Own: "i-00000000000000001", Role: "vault+nodes@prod", Instances: []discovertest.EC2{
		{ID: "i-00000000000000001", Tags: tag, Private: "10.0.0.1", Public: "198.51.100.1", IPv6: []string{"2001:db8::1"}},
		{ID: "i-00000000000000002", Tags: tag, Private: "10.0.0.2", Public: "198.51.100.2", IPv6: []string{"2001:db8::2", "2001:db8::22"}},
		{ID: "i-00000000000000003", Tags: tag, Private: "10.0.0.3"},
		{ID: "i-00000000000000004", Tags: tag, Private: "10.0.0.4", State: "stopped"},
		{ID: "i-00000000000000005", Tags: map[string]string{"strongroom": "test"}, Private: "10.0.0.5"},
	}}
}

const ec2Host = "ec2.eu-central-1.amazonaws.com"

func finds(t *testing.T, n *discovertest.Network, on node.Platform, config string, want []string, wantErr ...string) {
	t.Helper()
	got, err := n.Finder(on).Find(t.Context(), config)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if len(wantErr) == 0 && err != nil || len(wantErr) > 0 && err == nil {
		t.Errorf("got error %v, want one with %q", err, wantErr)
	}
	for _, part := range wantErr {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v, want one with %q", err, part)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "PLANTED") || strings.Contains(err.Error(), discovertest.AWSSecret)) {
		t.Errorf("a secret in %v", err)
	}
}

func TestAWS(t *testing.T) {
	const config = `provider=aws tag_key=strongroom tag_value="prod eu"`
	for name, c := range map[string]struct {
		config string
		host   string
		edit   func(*discovertest.AWS)
		want   []string
		err    []string
	}{
		"the usual":            {config: config, want: []string{"10.0.0.2", "10.0.0.3"}},
		"page by page":         {config: config, edit: func(a *discovertest.AWS) { a.PageSize = 1 }, want: []string{"10.0.0.2", "10.0.0.3"}},
		"public":               {config: config + " addr_type=public_v4", want: []string{"198.51.100.2"}},
		"IPv6":                 {config: config + " addr_type=public_v6", want: []string{"2001:db8::2", "2001:db8::22"}},
		"wildcards are EC2's":  {config: `provider=aws tag_key=strongroom tag_value=prod*`, want: []string{"10.0.0.2", "10.0.0.3"}},
		"another region":       {config: config + " region=eu-west-1", host: "ec2.eu-west-1.amazonaws.com", want: []string{"10.0.0.2", "10.0.0.3"}, edit: func(a *discovertest.AWS) { a.Region = "eu-west-1" }},
		"another partition":    {config: config, host: "ec2.cn-north-1.amazonaws.com.cn", want: []string{"10.0.0.2", "10.0.0.3"}, edit: func(a *discovertest.AWS) { a.Region, a.Domain = "cn-north-1", "amazonaws.com.cn" }},
		"an endpoint of a VPC": {config: config + " endpoint=https://vpce-1.ec2.eu-central-1.vpce.amazonaws.com/", host: "vpce-1.ec2.eu-central-1.vpce.amazonaws.com", want: []string{"10.0.0.2", "10.0.0.3"}},
		"states are looked at": {config: config, edit: func(a *discovertest.AWS) { a.Careless, a.Instances = true, a.Instances[:4] }, want: []string{"10.0.0.2", "10.0.0.3"}},
		"nobody else":          {config: config, edit: func(a *discovertest.AWS) { a.Instances = a.Instances[:1] }, err: []string{"no other running instance", "tag strongroom=prod eu in eu-central-1", "operator init"}},
		"addresses of no use": {config: config, edit: func(a *discovertest.AWS) {
			a.Instances[1].Private, a.Instances[2].Private = "127.0.0.1", "::ffff:10.0.0.3"
		}, err: []string{"no other running instance"}},
		"no role":                 {config: config, edit: func(a *discovertest.AWS) { a.Role = "" }, err: []string{"provider aws", "the role of this instance", "HTTP status 404", "ec2:DescribeInstances"}},
		"permission lacks":        {config: config, edit: func(a *discovertest.AWS) { a.Denied = true }, err: []string{"provider aws: ec2:DescribeInstances in eu-central-1: HTTP status 403: UnauthorizedOperation", "needs the permission ec2:DescribeInstances"}},
		"region of another cloud": {config: config, edit: func(a *discovertest.AWS) { a.Region = "eu-1.evil.example.net/" }, err: []string{"no host of an API"}},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := frankfurt()
			if c.edit != nil {
				c.edit(cloud)
			}
			n := discovertest.NewNetwork(t)
			n.Metadata(cloud.Metadata())
			if c.host == "" {
				c.host = ec2Host
			}
			n.Serve(c.host, n.CA, cloud.API())
			finds(t, n, node.AWS, c.config, c.want, c.err...)
		})
	}
	t.Run("enough is enough", func(t *testing.T) {
		cloud := frankfurt()
		cloud.PageSize, cloud.Careless = 10, true
		for i := range 500 {
			cloud.Instances = append(cloud.Instances, discovertest.EC2{ID: fmt.Sprint("i-", i), Private: fmt.Sprintf("10.1.%d.%d", i/200, 1+i%200)})
		}
		n := discovertest.NewNetwork(t)
		n.Metadata(cloud.Metadata())
		n.Serve(ec2Host, n.CA, cloud.API())
		got, err := n.Finder(node.AWS).Find(t.Context(), config)
		if len(got) != 32 || err != nil || cloud.Asked() != 4 {
			t.Errorf("%d addresses, %v, %d pages", len(got), err, cloud.Asked())
		}
	})
	t.Run("a clock that is wrong", func(t *testing.T) {
		cloud := frankfurt()
		n := discovertest.NewNetwork(t)
		n.Metadata(cloud.Metadata())
		n.Serve(ec2Host, n.CA, cloud.API())
		f := n.Finder(node.AWS)
		f.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		if _, err := f.Find(t.Context(), config); err == nil || !strings.Contains(err.Error(), "RequestExpired") || !strings.Contains(err.Error(), "clock") {
			t.Errorf("got %v", err)
		}
	})
}

func TestGCE(t *testing.T) {
	const config = "provider=gce tag_value=vault"
	for name, c := range map[string]struct {
		config string
		edit   func(*discovertest.GCE)
		want   []string
		err    []string
	}{
		"the usual":              {config: config, want: []string{"10.0.1.2", "10.0.2.3"}},
		"page by page":           {config: config, edit: func(g *discovertest.GCE) { g.PageSize = 1 }, want: []string{"10.0.1.2", "10.0.2.3"}},
		"a zone":                 {config: config + " zone_pattern=europe-west1-.*", want: []string{"10.0.1.2"}},
		"a pattern is the whole": {config: config + " zone_pattern=europe", err: []string{"no other running instance", "in a zone like europe"}},
		"two zones":              {config: config + ` zone_pattern="europe-west1-b|us-east1-.*"`, want: []string{"10.0.1.2", "10.0.2.3"}},
		"another project":        {config: config + " project_name=example.com:other", edit: func(g *discovertest.GCE) { g.Project = "example.com:other" }, want: []string{"10.0.1.2", "10.0.2.3"}},
		"a project not there":    {config: config + " project_name=absent", err: []string{"HTTP status 404: notFound", "is project_name right?"}},
		"no service account":     {config: config, edit: func(g *discovertest.GCE) { g.NoAccount = true }, err: []string{"service account", "compute.instances.list"}},
		"permission lacks":       {config: config, edit: func(g *discovertest.GCE) { g.Denied = true }, err: []string{"provider gce: compute.instances.list in project prod-1: HTTP status 403: forbidden", "needs the permission compute.instances.list", "compute-ro"}},
	} {
		t.Run(name, func(t *testing.T) {
			tags := []string{"http", "vault"}
			cloud := &discovertest.GCE{Project: "prod-1", Own: "4520031799277581759", Instances: []discovertest.GCEInstance{
				{ID: "4520031799277581759", Zone: "europe-west1-b", Tags: tags, IPs: []string{"10.0.1.1"}},
				{ID: "2", Zone: "europe-west1-b", Tags: tags, IPs: []string{"10.0.1.2", "10.9.1.2"}},
				{ID: "3", Zone: "us-east1-c", Tags: tags, IPs: []string{"10.0.2.3"}},
				{ID: "4", Zone: "us-east1-c", Tags: tags, IPs: []string{"10.0.2.4"}, Status: "TERMINATED"},
				{ID: "5", Zone: "us-east1-c", Tags: []string{"vault-test"}, IPs: []string{"10.0.2.5"}},
				{ID: "6", Zone: "us-east1-c", Tags: tags},
			}}
			if c.edit != nil {
				c.edit(cloud)
			}
			n := discovertest.NewNetwork(t)
			n.Metadata(cloud.Metadata())
			n.Serve("compute.googleapis.com", n.CA, cloud.API())
			finds(t, n, node.GCP, c.config, c.want, c.err...)
		})
	}
}

func TestAzure(t *testing.T) {
	const subscription = "01234567-89ab-cdef-0123-456789abcdef"
	const tagged, set = "provider=azure tag_name=role tag_value=vault", "provider=azure resource_group=prod vm_scale_set=vault"
	machine := func(name string) string {
		return "/subscriptions/" + subscription + "/resourceGroups/prod/providers/Microsoft.Compute/virtualMachines/" + name
	}
	for name, c := range map[string]struct {
		config string
		edit   func(*discovertest.Azure)
		host   string
		want   []string
		err    []string
	}{
		"by tag":                 {config: tagged, want: []string{"10.0.0.2", "fd00::2", "10.0.0.3"}},
		"page by page":           {config: tagged, edit: func(a *discovertest.Azure) { a.PageSize = 1 }, want: []string{"10.0.0.2", "fd00::2", "10.0.0.3"}},
		"by scale set":           {config: set, want: []string{"10.0.0.3"}},
		"a scale set not there":  {config: "provider=azure resource_group=prod vm_scale_set=absent", err: []string{"HTTP status 404: ResourceNotFound", "must be a uniform one"}},
		"another subscription":   {config: tagged + " subscription_id=11111111-89ab-cdef-0123-456789abcdef", edit: func(a *discovertest.Azure) { a.Subscription = "11111111-89ab-cdef-0123-456789abcdef" }, want: []string{"10.0.0.2", "fd00::2", "10.0.0.3"}},
		"in China":               {config: tagged, host: "management.chinacloudapi.cn", edit: func(a *discovertest.Azure) { a.Environment = "AzureChinaCloud" }, want: []string{"10.0.0.2", "fd00::2", "10.0.0.3"}},
		"in an unknown place":    {config: tagged, edit: func(a *discovertest.Azure) { a.Environment = "AzureStack" }, err: []string{`no environment "AzureStack"`}},
		"no identity":            {config: tagged, edit: func(a *discovertest.Azure) { a.NoIdentity = true }, err: []string{"HTTP status 400", "managed identity", "client_id"}},
		"an identity of several": {config: tagged + " client_id=22222222-89ab-cdef-0123-456789abcdef", edit: func(a *discovertest.Azure) { a.ClientID = "22222222-89ab-cdef-0123-456789abcdef" }, want: []string{"10.0.0.2", "fd00::2", "10.0.0.3"}},
		"permission lacks":       {config: tagged, edit: func(a *discovertest.Azure) { a.Denied = true }, err: []string{"HTTP status 403: AuthorizationFailed", "needs the permission Microsoft.Network/networkInterfaces/read"}},
		"permission of a set":    {config: set, edit: func(a *discovertest.Azure) { a.Denied = true }, err: []string{"needs the permission Microsoft.Compute/virtualMachineScaleSets/networkInterfaces/read"}},
		"the next page elsewhere": {config: tagged, edit: func(a *discovertest.Azure) { a.PageSize, a.Next = 1, "https://evil.example.net/subscriptions" },
			err: []string{"the next page lies elsewhere"}},
		"the next page in the clear": {config: tagged, edit: func(a *discovertest.Azure) { a.PageSize, a.Next = 1, "http://management.azure.com/x" },
			err: []string{"the next page lies elsewhere"}},
		"the next page for ever": {config: tagged, edit: func(a *discovertest.Azure) {
			a.PageSize, a.Next = 1, "https://management.azure.com/subscriptions/"+subscription+"/providers/Microsoft.Network/networkInterfaces?api-version=2024-05-01"
		}, err: []string{"the list does not end"}},
	} {
		t.Run(name, func(t *testing.T) {
			tag := map[string]string{"role": "vault"}
			cloud := &discovertest.Azure{Environment: "AzurePublicCloud", Subscription: subscription, Own: machine("vault-1"), Interfaces: []discovertest.AzureInterface{
				// The answers of two services differ in case.
				{Tags: tag, Machine: strings.ToUpper(machine("vault-1")), IPs: []string{"10.0.0.1"}, ScaleSet: "prod/vault"},
				{Tags: tag, Machine: machine("vault-2"), IPs: []string{"10.0.0.2", "fd00::2"}},
				{Tags: tag, Machine: machine("vault-3"), IPs: []string{"10.0.0.3"}, ScaleSet: "prod/vault"},
				{Tags: tag, IPs: []string{"10.0.0.4"}},
				{Tags: map[string]string{"role": "test"}, Machine: machine("test"), IPs: []string{"10.0.0.5"}},
				{Machine: machine("bare"), IPs: []string{"10.0.0.6"}},
			}}
			if c.edit != nil {
				c.edit(cloud)
			}
			if c.host == "" {
				c.host = "management.azure.com"
			}
			n := discovertest.NewNetwork(t)
			n.Metadata(cloud.Metadata())
			n.Serve(c.host, n.CA, cloud.API())
			n.Serve("evil.example.net", n.CA, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token went elsewhere") }))
			finds(t, n, node.Azure, c.config, c.want, c.err...)
		})
	}
}

// apis are what each provider needs to be asked, and where.
func apis() map[node.Platform]struct {
	config, host string
	metadata     http.Handler
} {
	return map[node.Platform]struct {
		config, host string
		metadata     http.Handler
	}{
		node.AWS: {"provider=aws tag_key=a tag_value=b", ec2Host, frankfurt().Metadata()},
		node.GCP: {"provider=gce tag_value=a", "compute.googleapis.com", (&discovertest.GCE{Project: "prod-1", Own: "1"}).Metadata()},
		node.Azure: {"provider=azure tag_name=a tag_value=b", "management.azure.com",
			(&discovertest.Azure{Environment: "AzurePublicCloud", Subscription: "s", Own: "o"}).Metadata()},
	}
}

// An API that does anything but list is an error with its reason, and the others of the joiner's sources are tried.
func TestAPIsThatFail(t *testing.T) {
	answers := func(status int, body string) func(*testing.T, *discovertest.Network, string) {
		return func(_ *testing.T, n *discovertest.Network, host string) {
			n.Serve(host, n.CA, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}))
		}
	}
	for name, c := range map[string]struct {
		serve func(*testing.T, *discovertest.Network, string)
		want  string
	}{
		"throttled":    {answers(http.StatusTooManyRequests, "slow down"), "HTTP status 429\n  hint: it is asked again"},
		"down":         {answers(http.StatusServiceUnavailable, "<html>"), "HTTP status 503\n  hint: it is asked again"},
		"garbage":      {answers(http.StatusOK, "<html><body>Welcome to the hotel</body></html>"), "cannot read the answer"},
		"nothing":      {answers(http.StatusOK, ""), "cannot read the answer"},
		"half of it":   {answers(http.StatusOK, `{"value": [{"tags"`), "cannot read the answer"},
		"far too much": {answers(http.StatusOK, strings.Repeat(" ", 5<<20)), "cannot read the answer"},
		"a portal that redirects": {func(t *testing.T, n *discovertest.Network, host string) {
			n.Serve("evil.example.net", n.CA, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
			n.Serve(host, n.CA, http.RedirectHandler("https://evil.example.net/", http.StatusTemporaryRedirect))
		}, "HTTP status 307"},
		"another authority": {func(t *testing.T, n *discovertest.Network, host string) {
			n.Serve(host, nodetest.NewCA(t, nodetest.Today()), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger was asked") }))
		}, "unknown authority"},
		"not there": {func(*testing.T, *discovertest.Network, string) {}, "connection refused"},
	} {
		for platform, api := range apis() {
			t.Run(name+" "+string(platform), func(t *testing.T) {
				n := discovertest.NewNetwork(t)
				n.Metadata(api.metadata)
				c.serve(t, n, api.host)
				finds(t, n, platform, api.config, nil, "provider "+strings.Fields(api.config)[0][len("provider="):], c.want)
			})
		}
	}
}

// Whatever hangs ends with the joiner's time.
func TestNothingHangs(t *testing.T) {
	for platform, api := range apis() {
		for _, what := range []string{"metadata", "API"} {
			t.Run(string(platform)+" "+what, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				released := make(chan struct{})
				hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					cancel() // the joiner's time is over
					<-released
				})
				n := discovertest.NewNetwork(t)
				n.Metadata(api.metadata)
				if what == "metadata" {
					n.Metadata(hangs)
				} else {
					n.Serve(api.host, n.CA, hangs)
				}
				t.Cleanup(func() { close(released) }) // the first cleanup: the servers wait for it
				if got, err := n.Finder(platform).Find(ctx, api.config); err == nil {
					t.Errorf("found %v", got)
				}
			})
		}
	}
}

// A machine asks the cloud that its firmware names, and no other.
func TestFindOnAnotherPlatform(t *testing.T) {
	for platform, api := range apis() {
		for _, on := range []node.Platform{node.AWS, node.GCP, node.Azure, ""} {
			if on == platform {
				continue
			}
			n := discovertest.NewNetwork(t)
			n.Metadata(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a metadata service was asked") }))
			finds(t, n, on, api.config, nil, "no instance of "+string(platform))
		}
	}
	finds(t, discovertest.NewNetwork(t), node.AWS, "provider=mdns", nil, "no provider")
}
