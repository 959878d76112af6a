package aws

import (
	"fmt"
	"regexp"
	"strings"
)

// BuilderIDs are of the artifacts of packer-plugin-amazon whose Id names AMIs: amazon-ebs, ebssurrogate, chroot,
// instance, and the post-processor amazon-import.
var BuilderIDs = []string{
	"mitchellh.amazonebs", "mitchellh.amazon.ebssurrogate", "mitchellh.amazon.chroot", "mitchellh.amazon.instance", "packer.post-processor.amazon-import",
}

var imageID = regexp.MustCompile(`^ami-[0-9a-f]{8,17}$`)

// ParseArtifactID reads the Id of such an artifact, "region:ami-…[,region:ami-…]": AMIs by region.
func ParseArtifactID(id string) (map[string]string, error) {
	images := map[string]string{}
	for part := range strings.SplitSeq(id, ",") {
		region, image, ok := strings.Cut(part, ":")
		if !ok || !regionName.MatchString(region) || !imageID.MatchString(image) {
			return nil, fmt.Errorf("the artifact's id %.200q is not \"region:ami-…\"", id)
		}
		if _, twice := images[region]; twice {
			return nil, fmt.Errorf("the artifact's id %.200q names %s twice", id, region)
		}
		images[region] = image
	}
	return images, nil
}
