package node

import (
	"net/url"
)

// Logs says where the journal is shipped to, by an image that ships it.
type Logs struct {
	Receiver string    // https URL with its port and without a path: systemd-journal-upload adds its own
	CA       Reference // authorities that the receiver's certificate is believed by; empty: the cluster's
}

// CredentialLogsCA is the usual place of the authorities of the receiver.
const CredentialLogsCA = "strongroom.logs.ca"

type logsSpec struct {
	Receiver string `hcl:"receiver"`
	CA       string `hcl:"ca,optional"`
}

func (s *logsSpec) check(at locator, wrong *Mistakes) *Logs {
	if s == nil {
		return nil
	}
	block := at.block("logs")
	if block.isString("receiver") {
		u, err := ParseHTTPS(s.Receiver)
		if err != nil || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			wrong.add(block.attribute("receiver"), "for example \"https://logs.example.net:19532\"", "receiver is not an https URL of a host and a port")
		}
	}
	return &Logs{Receiver: s.Receiver, CA: reference(block, "ca", s.CA, "", wrong)}
}

// Port is that of the receiver.
func (l *Logs) Port() string {
	u, err := url.Parse(l.Receiver)
	if err != nil {
		return ""
	}
	return u.Port()
}
