package logs

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// RootUse is a request with a root token, or the making of such a token.
type RootUse struct {
	At        time.Time
	Made      bool   // a token was made; otherwise one was used
	Operation string // "read", "update", …
	Path      string // of the request; no secret, since the audit log itself has it in the clear
	Remote    string // address of whoever asked
	Request   string // its id, by which the audit log has the rest
	Refused   bool   // the server answered with an error
}

// entry is what is read of one entry of an audit device of format json.
type entry struct {
	Time    time.Time
	Type    string // "request", "response"
	Error   string
	Auth    *identity
	Request struct {
		ID            string
		Operation     string
		Path          string
		RemoteAddress string `json:"remote_address"`
	}
	Response struct {
		Auth *identity
		Data struct{ Complete json.RawMessage } // of sys/generate-root/update: true or false; elsewhere it may be anything
	}
}

// identity is a token as the audit log shows it: its policies are not hashed.
type identity struct {
	Policies []string
}

func (i *identity) root() bool { return i != nil && slices.Contains(i.Policies, "root") }

// Words without one of which a line has nothing to do with a root token. Both servers write them as they are.
var (
	rootWord   = []byte(`"root"`)
	rootMaking = []byte(`"sys/generate-root/update"`)
)

// readEntry reads one line of the audit log. It gives nil for what has nothing to do with a root token. understood is false for what is
// no entry of format json: nobody knows what it says.
func readEntry(line []byte) (use *RootUse, understood bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil, true
	}
	if line[0] != '{' {
		return nil, false
	}
	if !bytes.Contains(line, rootWord) && !bytes.Contains(line, rootMaking) {
		return nil, true
	}
	var e entry
	if json.Unmarshal(line, &e) != nil {
		return nil, false
	}
	used := e.Type == "request" && e.Auth.root()
	made := e.Type == "response" && e.Error == "" &&
		(e.Response.Auth.root() || e.Request.Path == "sys/generate-root/update" && string(e.Response.Data.Complete) == "true")
	if !used && !made {
		return nil, true
	}
	return &RootUse{At: e.Time, Made: made, Operation: clip(e.Request.Operation), Path: clip(e.Request.Path), Remote: clip(e.Request.RemoteAddress),
		Request: clip(e.Request.ID), Refused: e.Error != ""}, true
}

// clip bounds what is repeated of another's text.
func clip(text string) string {
	const most = 256
	if len(text) > most {
		return text[:most]
	}
	return text
}
