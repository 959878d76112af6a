package aws

import (
	"cmp"
	"context"
	"slices"
	"sync"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/strongroom/strongroom/internal/launch"
)

// recordInto ends each call before anything of the SDK has touched it: the input that is written down is what the
// code below made, without the tokens that the SDK draws at random.
func recordInto(calls *launch.Calls) []func(*middleware.Stack) error {
	r := &recorder{calls: calls}
	return []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
		return stack.Initialize.Insert(middleware.InitializeMiddlewareFunc("StrongroomDryRun",
			func(ctx context.Context, in middleware.InitializeInput, _ middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				service, action := awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)
				result, err := r.answer(service, action, in.Parameters)
				return middleware.InitializeOutput{Result: result}, middleware.Metadata{}, err
			}), (*awsmiddleware.RegisterServiceMetadata)(nil).ID(), middleware.After)
	}}
}

type recorder struct {
	calls  *launch.Calls
	mu     sync.Mutex
	blocks *blocks
}

// blocks are the inputs of all PutSnapshotBlock, one call in the list: an image has hundreds, sent in any order.
type blocks struct{ list []*ebs.PutSnapshotBlockInput }

// MarshalJSON gives them in the order of the disk.
func (b *blocks) MarshalJSON() ([]byte, error) {
	slices.SortFunc(b.list, func(x, y *ebs.PutSnapshotBlockInput) int { return cmp.Compare(*x.BlockIndex, *y.BlockIndex) })
	return marshal(b.list)
}

func (r *recorder) answer(service, action string, input any) (any, error) {
	if block, ok := input.(*ebs.PutSnapshotBlockInput); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.blocks == nil {
			r.blocks = new(blocks)
			r.calls.Add(launch.Call{Service: service, Action: action, Input: r.blocks})
		}
		written := *block
		written.BlockData = nil // in the disk, at BlockIndex times 512 KiB
		r.blocks.list = append(r.blocks.list, &written)
		return &ebs.PutSnapshotBlockOutput{}, nil
	}
	r.calls.Add(launch.Call{Service: service, Action: action, Input: input})
	switch in := input.(type) {
	case *ebs.StartSnapshotInput:
		return &ebs.StartSnapshotOutput{SnapshotId: ptr("${StartSnapshot.SnapshotId}"), BlockSize: ptr(int32(blockSize))}, nil
	case *ebs.CompleteSnapshotInput:
		return &ebs.CompleteSnapshotOutput{Status: ebstypes.StatusCompleted}, nil
	case *ec2.DescribeSnapshotsInput:
		out := &ec2.DescribeSnapshotsOutput{}
		for _, id := range in.SnapshotIds {
			out.Snapshots = append(out.Snapshots, types.Snapshot{SnapshotId: &id, State: types.SnapshotStateCompleted})
		}
		return out, nil
	case *ec2.RegisterImageInput:
		return &ec2.RegisterImageOutput{ImageId: ptr("${RegisterImage.ImageId}")}, nil
	case *ec2.DescribeImagesInput:
		out := &ec2.DescribeImagesOutput{}
		for _, id := range in.ImageIds {
			out.Images = append(out.Images, types.Image{
				ImageId: &id, State: types.ImageStateAvailable, RootDeviceName: ptr("${DescribeImages.RootDeviceName}"),
				BootMode: types.BootModeValuesUefi, TpmSupport: types.TpmSupportValuesV20,
			})
		}
		return out, nil
	case *ec2.DescribeLaunchTemplateVersionsInput:
		return nil, &smithy.GenericAPIError{Code: noTemplate}
	case *ec2.CreateLaunchTemplateInput:
		return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: &types.LaunchTemplate{
			LaunchTemplateId: ptr("${CreateLaunchTemplate.LaunchTemplateId}"), LatestVersionNumber: ptr(int64(1)),
		}}, nil
	case *ssm.GetParameterInput:
		return nil, &ssmtypes.ParameterNotFound{}
	case *ssm.PutParameterInput:
		return &ssm.PutParameterOutput{}, nil
	}
	return nil, &smithy.GenericAPIError{Code: "DryRun", Message: action + " has no answer in a dry run"}
}

func ptr[T any](v T) *T { return &v }
