package node

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// AutoJoin is an auto_join string, understood: hashicorp/go-discover's configuration of the providers aws, gce and azure, without what
// names an identity other than the instance's own.
type AutoJoin struct {
	Platform Platform
	// Options are go-discover's keys for the provider. What was not given is missing.
	Options map[string]string
}

// ParseAutoJoin reads an auto_join string that [Parse] has accepted.
func ParseAutoJoin(text string) (AutoJoin, error) {
	a, problems := parseAutoJoin(text)
	if len(problems) > 0 {
		return AutoJoin{}, Hinted(fmt.Errorf("auto_join: %s", problems[0].text), problems[0].hint)
	}
	return a, nil
}

// problem is one thing that is wrong in a string.
type problem struct{ text, hint string }

// provider is what go-discover calls a cloud, and the keys that are understood here.
type provider struct {
	name     string
	platform Platform
	needed   [][]string // one of these sets
	optional []string
}

func providers() []provider {
	return []provider{
		{"aws", AWS, [][]string{{"tag_key", "tag_value"}}, []string{"addr_type", "region", "endpoint", "service"}},
		{"gce", GCP, [][]string{{"tag_value"}}, []string{"project_name", "zone_pattern"}},
		{"azure", Azure, [][]string{{"tag_name", "tag_value"}, {"resource_group", "vm_scale_set"}}, []string{"subscription_id", "client_id"}},
	}
}

func (p provider) example() string {
	switch p.platform {
	case GCP:
		return "for example \"provider=gce tag_value=strongroom\""
	case Azure:
		return "for example \"provider=azure tag_name=strongroom tag_value=prod-eu1\", or resource_group and vm_scale_set"
	}
	return "for example \"provider=aws tag_key=strongroom tag_value=prod-eu1\""
}

func (p provider) keys() []string { return append(slices.Concat(p.needed...), p.optional...) }

func parseAutoJoin(text string) (AutoJoin, []problem) {
	options, err := parsePairs(text)
	if err != nil {
		return AutoJoin{}, []problem{{"auto_join: " + err.Error(), provider{}.example()}}
	}
	name := options["provider"]
	delete(options, "provider")
	if name == "" {
		return AutoJoin{}, []problem{{"auto_join names no provider", provider{}.example()}}
	}
	all := providers()
	i := slices.IndexFunc(all, func(p provider) bool { return p.name == name })
	if i < 0 {
		return AutoJoin{}, []problem{{fmt.Sprintf("auto_join: no provider %q", name), "this node finds members through aws, gce and azure; name leaders or srv"}}
	}
	p := all[i]
	problems := p.complete(options)
	for _, key := range slices.Sorted(maps.Keys(options)) {
		switch wrong := p.judge(key, options[key]); {
		case !slices.Contains(p.keys(), key):
			problems = append(problems, problem{fmt.Sprintf("auto_join: provider %s has no %s here", name, key),
				"it takes " + strings.Join(p.keys(), ", ") + "; this node asks as the instance that it is"})
		case wrong != "":
			problems = append(problems, problem{fmt.Sprintf("auto_join: %s: %s", key, wrong), p.example()})
		}
	}
	return AutoJoin{p.platform, options}, problems
}

// complete wants one set of needed keys, whole, and nothing of another.
func (p provider) complete(options map[string]string) []problem {
	missing := func(key string) bool { return options[key] == "" }
	given := slices.DeleteFunc(slices.Clone(p.needed), func(set []string) bool {
		return !slices.ContainsFunc(set, func(key string) bool { return !missing(key) })
	})
	if len(given) > 1 {
		return []problem{{fmt.Sprintf("auto_join: %s and %s do not go together", given[0][0], given[1][0]), p.example()}}
	}
	set := append(given, p.needed...)[0]
	if lacking := slices.DeleteFunc(slices.Clone(set), func(key string) bool { return !missing(key) }); len(lacking) > 0 {
		return []problem{{fmt.Sprintf("auto_join: provider %s needs %s", p.name, strings.Join(lacking, " and ")), p.example()}}
	}
	return nil
}

// judge says what is wrong with a value.
func (p provider) judge(key, value string) string {
	matches := func(pattern, otherwise string) string {
		if regexp.MustCompile(pattern).MatchString(value) {
			return ""
		}
		return otherwise
	}
	const uuid = `^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`
	switch key {
	case "addr_type":
		return matches(`^(private_v4|public_v4|public_v6)$`, "private_v4, public_v4 or public_v6")
	case "service":
		return matches(`^ec2$`, "only ec2: a node is no task of ECS")
	case "region":
		return matches(`^[a-z]{2,5}(-[a-z0-9]{1,12}){1,4}$`, "no region, for example eu-central-1")
	case "endpoint":
		return endpointProblem(value)
	case "project_name":
		// As the API describes itself: an id or number, some with a domain before a colon.
		return matches(`^([a-z0-9.-]{1,253}:)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, "no project, for example prod-network-1")
	case "zone_pattern":
		if _, err := regexp.Compile(value); err != nil {
			return "no regular expression (RE2), for example europe-west1-.*"
		}
	case "subscription_id", "client_id":
		return matches(uuid, "no UUID")
	}
	return ""
}

// endpointProblem admits a host of AWS's API in a VPC or for IPv6. What it answers decides who is asked to be a member, and the
// members prove themselves.
func endpointProblem(value string) string {
	u, err := ParseHTTPS(value)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Path != "" && u.Path != "/" || !hostname().MatchString(u.Hostname()) {
		return "no https URL of a host and nothing more, for example https://ec2.eu-central-1.api.aws"
	}
	return ""
}

// checkAutoJoin wants a provider that this node can ask, and no key of a cloud: node.hcl is read by whoever reads the instance's metadata.
func checkAutoJoin(at locator, text string, wrong *Mistakes) {
	if key := secretKey(text); key != "" {
		wrong.add(at.attribute("auto_join"), "give the instance an identity that may list its peers, and change the secret that was there", "auto_join holds %s=", key)
		return
	}
	_, problems := parseAutoJoin(text)
	for _, p := range problems {
		wrong.add(at.attribute("auto_join"), p.hint, "%s", p.text)
	}
}

// secretKey gives the first key that looks like one of a secret, also in a string that cannot be read.
func secretKey(text string) string {
	var keys []string
	if pairs, err := parsePairs(text); err == nil {
		keys = slices.Sorted(maps.Keys(pairs))
	} else {
		for word := range strings.FieldsSeq(text) {
			if key, _, ok := strings.Cut(word, "="); ok {
				keys = append(keys, strings.Trim(key, `"`))
			}
		}
	}
	for _, key := range keys {
		for _, part := range []string{"secret", "password", "token", "access_key", "api_key", "credential"} {
			// A name that ends in _file tells where a secret lies.
			if strings.Contains(strings.ToLower(key), part) && !strings.HasSuffix(strings.ToLower(key), "_file") {
				return key
			}
		}
	}
	return ""
}
