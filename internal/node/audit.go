package node

import (
	"slices"
	"strings"
)

// AuditDevice is one device that the server writes its audit log to.
type AuditDevice struct {
	Type    string            `json:"type"` // "file", "syslog", "socket"
	Options map[string]string `json:"options,omitempty"`
}

type auditSpec struct {
	Type string   `hcl:"type,label"`
	Rest struct{} `hcl:",remain"`
}

// Options that every device has. log_raw is not among them: it writes secrets in the clear.
var commonAudit = []option{
	{name: "format", oneOf: []string{"json", "jsonx"}},
	{name: "hmac_accessor", kind: kindYesNo},
	{name: "elide_list_responses", kind: kindYesNo},
}

// auditTypes are the devices, in the order in which they are rendered. Where the file lies and what tag syslog has is the
// image's to say: partition, sandbox and controls go with it.
var auditTypes = []struct {
	name    string
	options []option
}{
	{"file", commonAudit},
	{"syslog", append([]option{{name: "facility"}}, commonAudit...)},
	{"socket", append([]option{
		{name: "address", kind: kindHostPort, required: true},
		{name: "socket_type", usual: "tcp", oneOf: []string{"tcp", "udp"}},
		{name: "write_timeout"},
	}, commonAudit...)},
}

func checkAudit(at locator, wrong *Mistakes) []AuditDevice {
	var out []AuditDevice
	for _, block := range at.blocks("audit") {
		if len(block.labels) != 1 {
			continue // reported by the decoder
		}
		name := block.labels[0]
		i, names := -1, []string{}
		for j, t := range auditTypes {
			if names = append(names, t.name); t.name == name {
				i = j
			}
		}
		if i < 0 {
			wrong.add(block.label0(), "one of "+strings.Join(names, ", "), "audit %q is not a device", name)
			continue
		}
		if slices.ContainsFunc(out, func(d AuditDevice) bool { return d.Type == name }) {
			wrong.add(block.label0(), "one of each type; two files on one partition prove no more than one", "a second audit %q", name)
			continue
		}
		out = append(out, AuditDevice{Type: name, Options: options("audit "+name, block.locator, auditTypes[i].options, wrong).text})
	}
	return out
}
