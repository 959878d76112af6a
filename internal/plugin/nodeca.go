package plugin

import (
	"maps"
	"os"
)

// authorityParameter is the parameter of the catalogue that holds what the file of node_config_ca does.
const authorityParameter = "node_config_ca"

// withAuthority adds the authorities of node_config_ca to the parameters of a profile.
func (c *HardeningConfig) withAuthority(parameters map[string]string, wrong *mistakes) map[string]string {
	if c.NodeConfigCA == "" {
		return parameters
	}
	content, err := os.ReadFile(c.NodeConfigCA)
	switch {
	case err != nil:
		wrong.add(authorityParameter, "%w", err)
		return parameters
	case len(content) == 0:
		wrong.add(authorityParameter, "%s is empty: leave the attribute out when no server may hand out node.hcl", c.NodeConfigCA)
		return parameters
	case parameters[authorityParameter] != "":
		wrong.add(authorityParameter, "it is given as a parameter too: leave one out")
		return parameters
	}
	out := maps.Clone(parameters)
	if out == nil {
		out = map[string]string{}
	}
	out[authorityParameter] = string(content)
	return out
}
