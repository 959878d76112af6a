package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/strongroom/strongroom/internal/launch"
)

// publication is one run.
type publication struct {
	config       Config
	request      launch.Request
	image        launch.Image
	registration string
	clients      Clients
	log          *slog.Logger
	undo         launch.Undo
	changed      bool
}

// Publish brings the region to where the launch template starts nodes from the image. What is there already is left as
// it is. An image without a file is an AMI that exists; its id is the image's Digest. When a step fails, what this run
// has made is removed again, or named in the error.
func Publish(ctx context.Context, clients Clients, config Config, request launch.Request) (launch.Result, error) {
	p := &publication{
		config: config, request: request, image: request.Image, clients: clients, log: request.Log,
		registration: registrationOf(request.Image.Digest, config),
	}
	if len(request.NodeConfig) > maxUserData {
		return launch.Result{}, fmt.Errorf("node_config: %d bytes are more than the %d that user data may have", len(request.NodeConfig), maxUserData)
	}
	result, err := p.run(ctx)
	if err != nil {
		return launch.Result{}, p.undo.Back(ctx, err)
	}
	return result, nil
}

func (p *publication) run(ctx context.Context) (launch.Result, error) {
	var image types.Image
	var err error
	if p.image.File != "" {
		image, err = p.register(ctx)
	} else {
		image, err = p.existing(ctx)
	}
	if err != nil {
		return launch.Result{}, err
	}
	t, err := p.launchTemplate(ctx, image)
	if err != nil {
		return launch.Result{}, err
	}
	if p.config.Parameter != "" {
		if err := p.parameter(ctx, *image.ImageId); err != nil {
			return launch.Result{}, err
		}
	}
	return launch.Result{
		ID: t.String(), Image: *image.ImageId, Region: p.config.Region, Changed: p.changed, Terraform: p.terraform(image),
	}, nil
}

// parameter writes the AMI's id where `resolve:ssm:` finds it.
func (p *publication) parameter(ctx context.Context, id string) error {
	name := p.config.Parameter
	there, err := p.clients.SSM.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	var missing *ssmtypes.ParameterNotFound
	if err != nil && !errors.As(err, &missing) {
		return fmt.Errorf("cannot read the parameter %s: %w", name, err)
	}
	if err == nil && there.Parameter != nil && there.Parameter.Value != nil && *there.Parameter.Value == id {
		return nil
	}
	p.log.Info("Writing the parameter " + name + "...")
	_, err = p.clients.SSM.PutParameter(ctx, &ssm.PutParameterInput{
		Name: &name, Value: &id, Type: ssmtypes.ParameterTypeString, DataType: ptr("aws:ec2:image"), Overwrite: ptr(true),
		Description: ptr("AMI of " + p.request.Name),
	})
	if err != nil {
		return fmt.Errorf("cannot write the parameter %s: %w", name, err)
	}
	p.changed = true
	return nil
}

// command is how an operator removes something by hand.
func (p *publication) command(rest string) string {
	return "aws ec2 " + rest + " --region " + p.config.Region
}
