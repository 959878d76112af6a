package aws_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/strongroom/strongroom/internal/launch"
	"github.com/strongroom/strongroom/internal/launch/aws"
	"github.com/strongroom/strongroom/internal/launch/awstest"
)

// clients are the SDK's, with its retries but without its pauses.
func clients(server *awstest.Server) aws.Clients {
	c := aws.NewClients(sdk.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer: func() sdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.RateLimiter = 4, ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	})
	c.Poll = time.Nanosecond
	return c
}

const userData = `cluster { name = "test" }`

// disk is 2 GiB with data in three blocks of 512 KiB.
func disk(t *testing.T) (path string, blocks map[int32][]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(2 << 30); err != nil {
		t.Fatal(err)
	}
	blocks = map[int32][]byte{}
	for _, i := range []int32{0, 7, 4095} {
		block := make([]byte, awstest.BlockSize)
		copy(block[100*i%5000:], fmt.Sprintf("block %d", i))
		blocks[i] = block
		if _, err := f.WriteAt(block, int64(i)*awstest.BlockSize); err != nil {
			t.Fatal(err)
		}
	}
	// Written, and zero: no hole, and yet not to be sent.
	if _, err := f.WriteAt(make([]byte, awstest.BlockSize), 100*awstest.BlockSize); err != nil {
		t.Fatal(err)
	}
	return path, blocks
}

func request(file string) launch.Request {
	return launch.Request{
		Image: launch.Image{Name: "strongroom-vault", Version: "1.4.0", Profile: "vault/cloud", Digest: strings.Repeat("ab", 32), File: file, Size: 2 << 30},
		Name:  "vault", NodeConfig: []byte(userData), Tags: map[string]string{"team": "security"}, Log: slog.New(slog.DiscardHandler),
	}
}

func config() aws.Config {
	return aws.Config{
		Region: "eu-central-1", InstanceType: "m7i.large", InstanceProfile: "vault", SecurityGroups: []string{"sg-0123456789abcdef0"},
		KMSKey: "arn:aws:kms:eu-central-1:111122223333:key/1234", VolumeSize: 20, Dedicated: true, Parameter: "/strongroom/vault/ami", UEFIData: "QU1aTlVFRkk=",
	}
}

func TestPublish(t *testing.T) {
	server := awstest.New(t)
	server.Slow = true
	file, blocks := disk(t)
	c := config()
	if err := c.Check("vault", request(file).Tags); err != nil {
		t.Fatal(err)
	}
	first, err := aws.Publish(t.Context(), clients(server), c, request(file))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot", "RegisterImage", "CreateLaunchTemplate", "PutParameter"}; !slices.Equal(server.Wrote(), want) {
		t.Errorf("called %v, want %v", server.Wrote(), want)
	}

	for id, s := range server.Snapshots {
		if !maps.EqualFunc(s.Blocks, blocks, bytes.Equal) {
			t.Errorf("%s has the blocks %v", id, slices.Sorted(maps.Keys(s.Blocks)))
		}
		if *s.Input.VolumeSize != 2 || *s.Input.KmsKeyArn != c.KMSKey {
			t.Errorf("the snapshot was started with %+v", s.Input)
		}
	}
	image := server.Images[first.Image]
	if image == nil {
		t.Fatalf("there is no image %q", first.Image)
	}
	if image.BootMode != types.BootModeValuesUefi || image.TpmSupport != types.TpmSupportValuesV20 || image.ImdsSupport != types.ImdsSupportValuesV20 ||
		image.Architecture != types.ArchitectureValuesX8664 || !*image.EnaSupport || *image.UefiData != c.UEFIData || image.BlockDeviceMappings[0].Ebs.VolumeType != types.VolumeTypeGp3 {
		t.Errorf("registered %+v", image)
	}
	id, _, _ := strings.Cut(first.ID, ":")
	made := server.Templates[id]
	if made == nil || made.Name != "vault" || first.ID != id+":1" || !first.Changed {
		t.Fatalf("got %+v and %+v", first, made)
	}
	data := made.Versions[1].LaunchTemplateData
	m := data.MetadataOptions
	if *data.ImageId != first.Image || data.KeyName != nil || m.HttpTokens != types.LaunchTemplateHttpTokensStateRequired || *m.HttpPutResponseHopLimit != 1 ||
		m.InstanceMetadataTags != types.LaunchTemplateInstanceMetadataTagsStateEnabled || !*data.Monitoring.Enabled || data.Placement.Tenancy != types.TenancyDedicated {
		t.Errorf("the template says %+v", data)
	}
	root := data.BlockDeviceMappings[0]
	if *root.DeviceName != *image.RootDeviceName || !*root.Ebs.Encrypted || *root.Ebs.KmsKeyId != c.KMSKey || *root.Ebs.VolumeSize != 20 || root.Ebs.SnapshotId != nil {
		t.Errorf("the root disk is %+v", root.Ebs)
	}
	if nic := data.NetworkInterfaces[0]; *nic.AssociatePublicIpAddress || !slices.Equal(nic.Groups, c.SecurityGroups) {
		t.Errorf("the network interface is %+v", nic)
	}
	if text, err := base64.StdEncoding.DecodeString(*data.UserData); err != nil || string(text) != userData {
		t.Errorf("user data: %q, %v", text, err)
	}
	if len(data.TagSpecifications) != 3 || fmt.Sprint(tags(data.TagSpecifications[0].Tags)) !=
		"map[Name:vault strongroom:image-digest:"+strings.Repeat("ab", 32)+" strongroom:image-version:1.4.0 strongroom:profile:vault/cloud team:security]" {
		t.Errorf("tags: %v", tags(data.TagSpecifications[0].Tags))
	}
	if *server.Parameters[c.Parameter].Value != first.Image {
		t.Errorf("the parameter is %s", *server.Parameters[c.Parameter].Value)
	}

	t.Run("again", func(t *testing.T) {
		server.Forget()
		again, err := aws.Publish(t.Context(), clients(server), c, request(file))
		if err != nil || again.Changed || again.ID != first.ID || again.Image != first.Image || server.Wrote() != nil {
			t.Errorf("got %+v, %v after %v", again, err, server.Wrote())
		}
	})
	t.Run("another image", func(t *testing.T) {
		server.Forget()
		r := request(file)
		r.Image.Digest, r.Image.Version = strings.Repeat("cd", 32), "1.5.0"
		next, err := aws.Publish(t.Context(), clients(server), c, r)
		want := []string{"StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot", "RegisterImage", "CreateLaunchTemplateVersion", "ModifyLaunchTemplate", "PutParameter"}
		if err != nil || next.ID != id+":2" || made.Default != 2 || !slices.Equal(server.Wrote(), want) {
			t.Errorf("got %+v, %v, default version %d, after %v", next, err, made.Default, server.Wrote())
		}
	})
	t.Run("back to the first", func(t *testing.T) { // its AMI is found again; a version is not
		server.Forget()
		back, err := aws.Publish(t.Context(), clients(server), c, request(file))
		if want := []string{"CreateLaunchTemplateVersion", "ModifyLaunchTemplate", "PutParameter"}; err != nil || back.Image != first.Image || back.ID != id+":3" || !slices.Equal(server.Wrote(), want) {
			t.Errorf("got %+v, %v after %v", back, err, server.Wrote())
		}
	})
	t.Run("default version changed by hand", func(t *testing.T) {
		made.Default = 1
		server.Forget()
		same, err := aws.Publish(t.Context(), clients(server), c, request(file))
		if want := []string{"ModifyLaunchTemplate"}; err != nil || !same.Changed || made.Default != 3 || !slices.Equal(server.Wrote(), want) {
			t.Errorf("got %+v, %v after %v", same, err, server.Wrote())
		}
	})
}

func tags(list []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range list {
		m[*t.Key] = *t.Value
	}
	return m
}

// An AMI of another builder: only the template and the parameter.
func TestPublishAMI(t *testing.T) {
	server := awstest.New(t)
	const ami = "ami-0123456789abcdef0"
	server.AddImage(ami)
	r := request("")
	r.Image = launch.Image{Name: "vault", Digest: ami, Unknown: true}
	got, err := aws.Publish(t.Context(), clients(server), config(), r)
	if err != nil || got.Image != ami {
		t.Fatalf("got %+v, %v", got, err)
	}
	if want := []string{"CreateLaunchTemplate", "PutParameter"}; !slices.Equal(server.Wrote(), want) {
		t.Errorf("called %v", server.Wrote())
	}
	for _, made := range server.Templates {
		data := made.Versions[1].LaunchTemplateData
		if *data.BlockDeviceMappings[0].DeviceName != "/dev/sda1" || tags(data.TagSpecifications[0].Tags)["strongroom:image-digest"] != "" {
			t.Errorf("the template says %+v", data)
		}
	}
	r.Image.Digest = "ami-00000000000000000"
	if _, err := aws.Publish(t.Context(), clients(server), config(), r); err == nil || !strings.Contains(err.Error(), "the region does not know it") {
		t.Errorf("an AMI that is not there: %v", err)
	}
}

// Every call is throttled twice and then answered: the SDK waits and asks again.
func TestThrottling(t *testing.T) {
	server := awstest.New(t)
	codes := map[string]string{"StartSnapshot": "RequestThrottledException", "PutSnapshotBlock": "RequestThrottledException", "CompleteSnapshot": "RequestThrottledException",
		"GetParameter": "ThrottlingException", "PutParameter": "ThrottlingException"}
	refused := map[string]int{}
	server.Fault = func(action string, nth int) (int, string) {
		if nth >= 2 {
			return 0, ""
		}
		refused[action]++
		if code, ok := codes[action]; ok {
			return http.StatusBadRequest, code
		}
		return http.StatusServiceUnavailable, "RequestLimitExceeded"
	}
	file, _ := disk(t)
	if _, err := aws.Publish(t.Context(), clients(server), config(), request(file)); err != nil {
		t.Fatal(err)
	}
	if len(refused) != 10 || len(server.Snapshots) != 1 || len(server.Images) != 1 || len(server.Templates) != 1 {
		t.Errorf("refused %v; there are %d snapshots, %d images, %d templates", refused, len(server.Snapshots), len(server.Images), len(server.Templates))
	}
}

// A step fails for good: what was made before is gone again, or named with the command that removes it.
func TestFailures(t *testing.T) {
	file, _ := disk(t)
	// A template is there already, so that its way back is tried too.
	prepare := func(t *testing.T) *awstest.Server {
		server := awstest.New(t)
		server.AddImage("ami-0123456789abcdef0")
		old := request("")
		old.Image = launch.Image{Digest: "ami-0123456789abcdef0", Unknown: true}
		if _, err := aws.Publish(t.Context(), clients(server), config(), old); err != nil {
			t.Fatal(err)
		}
		server.Forget()
		return server
	}
	tests := map[string]struct {
		fails []string // actions
		says  []string
		left  string // snapshots, images, versions of the template, its default version
	}{
		"look for the image":      {[]string{"DescribeImages"}, []string{"cannot look for the image", "nothing was left behind"}, "0 1 1 1"},
		"look for the snapshot":   {[]string{"DescribeSnapshots"}, []string{"cannot look for the snapshot", "nothing was left behind"}, "0 1 1 1"},
		"start":                   {[]string{"StartSnapshot"}, []string{"cannot start the snapshot", "nothing was left behind"}, "0 1 1 1"},
		"upload":                  {[]string{"PutSnapshotBlock"}, []string{"cannot fill the snapshot", "was removed again"}, "0 1 1 1"},
		"complete":                {[]string{"CompleteSnapshot"}, []string{"cannot complete the snapshot", "was removed again"}, "0 1 1 1"},
		"register":                {[]string{"RegisterImage"}, []string{"cannot register the image", "snapshot snap-", "was removed again"}, "0 1 1 1"},
		"look for the template":   {[]string{"DescribeLaunchTemplateVersions"}, []string{"cannot look for the launch template", "image ami-", "snapshot snap-"}, "0 1 1 1"},
		"add a version":           {[]string{"CreateLaunchTemplateVersion"}, []string{"cannot add a version", "image ami-", "snapshot snap-"}, "0 1 1 1"},
		"default version":         {[]string{"ModifyLaunchTemplate"}, []string{"the default version", "version 2 of launch template lt-", "image ami-", "snapshot snap-"}, "0 1 1 1"},
		"read the parameter":      {[]string{"GetParameter"}, []string{"cannot read the parameter", "stays; run the build again to finish", "--versions 2"}, "1 2 2 2"},
		"write the parameter":     {[]string{"PutParameter"}, []string{"cannot write the parameter", "stays", "aws ec2 deregister-image --image-id ami-", "--region eu-central-1"}, "1 2 2 2"},
		"and the way back":        {[]string{"RegisterImage", "DeleteSnapshot"}, []string{"could not be removed", "aws ec2 delete-snapshot --snapshot-id snap-"}, "1 1 1 1"},
		"and the image stays":     {[]string{"CreateLaunchTemplateVersion", "DeregisterImage"}, []string{"aws ec2 deregister-image --image-id ami-", "aws ec2 delete-snapshot --snapshot-id snap-", "is in use by"}, "1 2 1 1"},
		"and the version remains": {[]string{"ModifyLaunchTemplate", "DeleteLaunchTemplateVersions"}, []string{"aws ec2 delete-launch-template-versions"}, "0 1 2 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := prepare(t)
			server.Fault = func(action string, _ int) (int, string) {
				if slices.Contains(tt.fails, action) {
					return http.StatusForbidden, "UnauthorizedOperation"
				}
				return 0, ""
			}
			got, err := aws.Publish(t.Context(), clients(server), config(), request(file))
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("does not say %q: %v", s, err)
				}
			}
			if left := inventory(server); left != tt.left {
				t.Errorf("left %q, want %q: %v", left, tt.left, err)
			}
			// Whatever remained, the next run comes to the same end.
			server.Fault = nil
			if _, err := aws.Publish(t.Context(), clients(server), config(), request(file)); err != nil {
				t.Errorf("the next run: %v", err)
			}
			if left := inventory(server); !strings.HasPrefix(left, "1 2 ") {
				t.Errorf("after the next run: %q", left)
			}
		})
	}
}

// inventory counts snapshots, images and versions, and names the default one.
func inventory(server *awstest.Server) string {
	versions, standard := 0, int64(0)
	for _, made := range server.Templates {
		for _, v := range made.Versions {
			if v != nil {
				versions++
			}
		}
		standard = made.Default
	}
	return fmt.Sprint(len(server.Snapshots), len(server.Images), versions, standard)
}

// Ctrl-C in the middle of the upload: the snapshot is removed, although the context has ended.
func TestCancel(t *testing.T) {
	server := awstest.New(t)
	file, _ := disk(t)
	ctx, cancel := context.WithCancel(t.Context())
	var once atomic.Bool
	server.Fault = func(action string, _ int) (int, string) {
		if action == "PutSnapshotBlock" && once.CompareAndSwap(false, true) {
			cancel()
			return http.StatusServiceUnavailable, "InternalServerException"
		}
		return 0, ""
	}
	_, err := aws.Publish(ctx, clients(server), config(), request(file))
	if err == nil || !strings.Contains(err.Error(), "was removed again") || len(server.Snapshots) != 0 {
		t.Errorf("got %v; %d snapshots are left", err, len(server.Snapshots))
	}
}

func TestCheck(t *testing.T) {
	bad := aws.Config{Region: "Frankfurt", SecurityGroups: []string{"default"}, KMSKey: "alias/vault", VolumeSize: -1, Parameter: "a b"}
	err := bad.Check("x", map[string]string{"a b": "", "aws:x": ""})
	for _, s := range []string{"aws.region", "name:", "aws.security_group_ids", "aws.kms_key_id", "aws.volume_size", "aws.ssm_parameter", `"a b"`, `"aws:x"`} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%q is not reported: %v", s, err)
		}
	}
	r := request("")
	r.NodeConfig = make([]byte, 17<<10)
	if _, err := aws.Publish(t.Context(), aws.Clients{}, config(), r); err == nil || !strings.Contains(err.Error(), "node_config") {
		t.Errorf("too much user data: %v", err)
	}
}
