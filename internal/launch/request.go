package launch

import (
	"log/slog"
	"maps"
)

// Request is what every provider is asked for.
type Request struct {
	Image      Image
	Name       string            // of the template
	NodeConfig []byte            // node.hcl; empty: the nodes get theirs in another way
	Tags       map[string]string // of the operator
	Log        *slog.Logger
}

// Keys of the tags that say where a machine comes from. A provider that allows no colon or dot writes them its own way.
const (
	TagDigest  = "strongroom:image-digest"
	TagVersion = "strongroom:image-version"
	TagProfile = "strongroom:profile"
)

// AllTags are those of the operator and those that say which image it is. Of an image that is in the cloud already
// there is no digest.
func (r Request) AllTags() map[string]string {
	tags := map[string]string{}
	if r.Image.File != "" {
		tags[TagDigest] = r.Image.Digest
	}
	if r.Image.Version != "" {
		tags[TagVersion] = r.Image.Version
	}
	if r.Image.Profile != "" {
		tags[TagProfile] = r.Image.Profile
	}
	maps.Copy(tags, r.Tags)
	return tags
}

// Result is what a run came to.
type Result struct {
	ID        string // of what nodes are started from, as the provider writes it
	Image     string // of the image, as the provider writes it
	Region    string
	Changed   bool // false: everything was there already
	Terraform any  // of a dry run: Terraform's JSON
}
