package node

import "slices"

// Who can say that this machine goes for good.
const (
	RetireAWS      = "aws"      // a lifecycle hook of EC2 Auto Scaling
	RetireGCP      = "gcp"      // preemption, or a graceful shutdown
	RetireAzure    = "azure"    // a scheduled event
	RetireShutdown = "shutdown" // systemd: the machine is switched off, not restarted
)

// Retire is a retire block: one who says that this machine goes for good, so that the node is taken out of its cluster.
type Retire struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options,omitempty"`
}

type retireSpec struct {
	Type string   `hcl:"type,label"`
	Rest struct{} `hcl:",remain"`
}

var retireTypes = []struct {
	name    string
	options []option
}{
	{RetireAWS, []option{{name: "group", required: true}, {name: "hook", required: true}, {name: "endpoint", kind: kindEndpoint}}},
	{RetireGCP, nil},
	{RetireAzure, nil},
	{RetireShutdown, nil},
}

// checkRetire gives the blocks in the order of the file: one cloud at most, and the shutdown.
func checkRetire(at locator, wrong *Mistakes) []Retire {
	var out []Retire
	cloud := ""
	for _, block := range at.blocks("retire") {
		if len(block.labels) != 1 {
			continue // reported by the decoder
		}
		name := block.labels[0]
		i := slices.IndexFunc(retireTypes, func(t struct {
			name    string
			options []option
		}) bool {
			return t.name == name
		})
		switch {
		case i < 0:
			wrong.add(block.label0(), "one of aws, gcp, azure, shutdown", "retire %q is nobody who is listened to", name)
			continue
		case slices.ContainsFunc(out, func(r Retire) bool { return r.Type == name }):
			wrong.add(block.label0(), "leave one of them out", "a second retire %q", name)
			continue
		case name != RetireShutdown && cloud != "":
			wrong.add(block.label0(), "the one that the machine runs in", "retire %q beside retire %q: a machine is in one cloud", name, cloud)
			continue
		case name != RetireShutdown:
			cloud = name
		}
		out = append(out, Retire{name, options("retire "+name, block.locator, retireTypes[i].options, wrong).text})
	}
	return out
}

// Retires reports whether a block names this one.
func (id Identity) Retires(name string) bool {
	return slices.ContainsFunc(id.Retire, func(r Retire) bool { return r.Type == name })
}
