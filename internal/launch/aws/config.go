package aws

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/strongroom/strongroom/internal/launch"
)

// Config is what a template says about AWS.
type Config struct {
	Region          string
	InstanceType    string // empty: whoever starts the instance says
	InstanceProfile string // name or ARN; empty: none
	SecurityGroups  []string
	KMSKey          string // ARN; empty: the account's default key
	VolumeSize      int32  // GiB; 0: the image's
	Dedicated       bool   // tenancy
	Parameter       string // of SSM; empty: none
	UEFIData        string // base64 blob of the UEFI variable store; empty: none
}

var (
	regionName    = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)
	templateName  = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)
	groupID       = regexp.MustCompile(`^sg-[0-9a-f]{8,17}$`)
	parameterName = regexp.MustCompile(`^[a-zA-Z0-9_./-]+$`)
	// Of a tag that the metadata service shows.
	tagKey = regexp.MustCompile(`^[A-Za-z0-9+\-=.,_:@]{1,128}$`)
)

// maxUserData is EC2's limit, before base64.
const maxUserData = 16 << 10

// Check reports everything that is wrong, each with the attribute that it is about. It looks at nothing outside. The name is empty
// while it is not known.
func (c Config) Check(name string, tags map[string]string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !regionName.MatchString(c.Region) {
		wrong("aws.region: %q is no region such as \"eu-central-1\"", c.Region)
	}
	if name != "" && !templateName.MatchString(name) {
		wrong("name: %q is no name of a launch template: 3 to 128 letters, digits, and ( ) . - / _", name)
	}
	if len(c.SecurityGroups) == 0 {
		wrong("aws.security_group_ids: at least one is needed: without any the nodes get the default group of the VPC")
	}
	for _, g := range c.SecurityGroups {
		if !groupID.MatchString(g) {
			wrong("aws.security_group_ids: %q is no id such as \"sg-0123456789abcdef0\"", g)
		}
	}
	if c.KMSKey != "" && !(strings.HasPrefix(c.KMSKey, "arn:") && strings.Contains(c.KMSKey, ":key/")) {
		wrong("aws.kms_key_id: %q is not the ARN of a key; the snapshot's API takes no id and no alias", c.KMSKey)
	}
	if c.VolumeSize < 0 {
		wrong("aws.volume_size: %d is not a number of GiB", c.VolumeSize)
	}
	if c.Parameter != "" && (!parameterName.MatchString(c.Parameter) || len(c.Parameter) > 1011) {
		wrong("aws.ssm_parameter: %q is no name of a parameter such as \"/strongroom/vault/ami\"", c.Parameter)
	}
	for key, value := range tags {
		if !tagKey.MatchString(key) || strings.HasPrefix(key, "aws:") || len(value) > 256 {
			wrong("tags: %q is no tag that the metadata service can show: letters, digits, and + - = . , _ : @, not beginning with aws:, and a value of at most 256 characters", key)
		}
	}
	return errors.Join(errs...)
}

// Clients are what talks to a region.
type Clients struct {
	EC2 *ec2.Client
	EBS *ebs.Client
	SSM *ssm.Client
	// Poll is the pause between two looks at a snapshot or an image. 0: the SDK's.
	Poll time.Duration
}

// looker is what the SDK's waiters ask. The client itself in an interface would bring all its methods into the program, 700 of
// EC2: programs with templates keep every method that reflection could call.
type looker struct {
	snapshots func(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	images    func(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
}

func (l looker) DescribeSnapshots(ctx context.Context, in *ec2.DescribeSnapshotsInput, options ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	return l.snapshots(ctx, in, options...)
}

func (l looker) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, options ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	return l.images(ctx, in, options...)
}

// attempts bounds how often one request is made. The pauses grow to 20 s, so this is some minutes of throttling.
const attempts = 12

// Connect takes credentials as the SDK finds them: environment, shared files, SSO, container, instance.
func Connect(ctx context.Context, region string) (Clients, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithRetryer(retryer))
	if err != nil {
		return Clients{}, fmt.Errorf("cannot read the configuration of AWS: %w", err)
	}
	return NewClients(c), nil
}

// retryer is the SDK's, with more patience, and without its quota of retries: that is made for a service's many
// callers, and would end a large upload at the first throttling.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.RateLimiter = ratelimit.None
	})
}

// NewClients makes the clients of a configuration.
func NewClients(c aws.Config) Clients {
	return Clients{EC2: ec2.NewFromConfig(c), EBS: ebs.NewFromConfig(c), SSM: ssm.NewFromConfig(c)}
}

// Recording gives clients that write every call down and send none. Their answers are those of an account in which
// nothing of this exists, with names such as ${RegisterImage.ImageId} where AWS chooses one.
func Recording(region string, calls *launch.Calls) Clients {
	return NewClients(aws.Config{
		Region: region, Credentials: aws.AnonymousCredentials{}, APIOptions: recordInto(calls),
	})
}
