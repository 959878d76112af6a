package aws_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/launch/aws"
)

func TestParseArtifactID(t *testing.T) {
	got, err := aws.ParseArtifactID("eu-central-1:ami-0123456789abcdef0,us-gov-west-1:ami-12345678")
	if want := "map[eu-central-1:ami-0123456789abcdef0 us-gov-west-1:ami-12345678]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, id := range []string{"", "ami-12345678", "eu-central-1:", "eu-central-1:ami-xyz", "eu-central-1:ami-12345678,", "eu-central-1:ami-12345678,eu-central-1:ami-87654321", "sha256:abc"} {
		if got, err := aws.ParseArtifactID(id); err == nil {
			t.Errorf("%q: got %v", id, got)
		}
	}
}

func FuzzParseArtifactID(f *testing.F) {
	f.Add("eu-central-1:ami-0123456789abcdef0,us-east-1:ami-12345678")
	f.Add(",:")
	f.Fuzz(func(t *testing.T, id string) {
		images, err := aws.ParseArtifactID(id)
		if err != nil {
			return
		}
		var parts []string
		for _, region := range slices.Sorted(maps.Keys(images)) {
			parts = append(parts, region+":"+images[region])
		}
		given := strings.Split(id, ",")
		slices.Sort(given)
		if !slices.Equal(given, parts) {
			t.Errorf("%q became %v", id, images)
		}
	})
}
