package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/strongroom/strongroom/internal/check"
)

// Status is what a lab is, as far as the lab can see it.
type Status struct {
	Image            string       `json:"image"` // "strongroom-vault 0.1.0"
	Seal             string       `json:"seal"`
	Initialised      bool         `json:"initialised"`
	Healthy          bool         `json:"healthy"`           // by the leader's autopilot
	FailureTolerance int          `json:"failure_tolerance"` // by the same
	Nodes            []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of it.
type NodeStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"`             // "off", "booting", "running", "cut"
	Verdict string `json:"verdict,omitempty"` // "pass at run"; the newest that could be read
	Role    string `json:"role"`              // in the Raft configuration: "leader", "follower", "non-voter", "none"; "unknown" when no node answers
	Join    string `json:"join,omitempty"`    // state of the node's own join: "ready", "refused", …
	NodeID  string `json:"node_id,omitempty"`
	Address string `json:"address"`          // on the lab's network
	API     string `json:"api,omitempty"`    // on the host's loopback
	Report  string `json:"report,omitempty"` // URL
	Console string `json:"console"`          // file
}

// Unfit names the nodes that run and whose verdict is not pass.
func (s Status) Unfit() []string {
	var names []string
	for _, n := range s.Nodes {
		if n.State != stateOff && !strings.HasPrefix(n.Verdict, string(check.Pass)+" ") {
			names = append(names, n.Name)
		}
	}
	return names
}

// States of a node.
const (
	stateOff     = "off"
	stateBooting = "booting"
	stateRunning = "running"
	stateCut     = "cut"
)

// Status looks at every node.
func (c *Cluster) Status(ctx context.Context) Status {
	s := Status{
		Image: c.manifest.Name + " " + c.manifest.Version, Seal: c.options.Seal,
		Initialised: c.Keys().made(), Nodes: make([]NodeStatus, len(c.members)),
	}
	peers, err := c.Peers(ctx)
	known := err == nil
	if autopilot, err := c.Autopilot(ctx); err == nil {
		s.Healthy, s.FailureTolerance = autopilot.Healthy, autopilot.FailureTolerance
	}
	var group sync.WaitGroup
	for i, m := range c.members {
		group.Add(1)
		go func() {
			defer group.Done()
			s.Nodes[i] = m.status(ctx)
			switch peer, ok := m.peerOf(peers); {
			case s.Initialised && !known:
				s.Nodes[i].Role = "unknown"
			case !ok:
				s.Nodes[i].Role = "none"
			case peer.Leader:
				s.Nodes[i].Role = "leader"
			case peer.Voter:
				s.Nodes[i].Role = "follower"
			default:
				s.Nodes[i].Role = "non-voter"
			}
		}()
	}
	group.Wait()
	return s
}

func (m *member) status(ctx context.Context) NodeStatus {
	s := NodeStatus{Name: m.name, State: stateOff, Address: m.lease.Address.String(), Console: m.consoleLog()}
	n := m.running()
	if n == nil {
		return s
	}
	s.API = n.Address(m.cluster.services.API)
	s.Report = "https://" + n.Address(m.cluster.services.Telemetry) + "/report"
	m.mu.Lock()
	document := m.report
	m.mu.Unlock()
	switch {
	case n.IsCut():
		s.State = stateCut
	case document == nil:
		s.State = stateBooting
	default:
		s.State = stateRunning
	}
	if !n.IsCut() {
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if newer, _, err := n.Report(asking); err == nil {
			document = newer
		}
		if metrics, err := n.Metrics(asking); err == nil {
			s.Join = stateSet(metrics, "hostcheck_join_state")
		}
	}
	if document != nil {
		s.Verdict = fmt.Sprintf("%s at %s", document.Verdict, document.Stage)
		s.NodeID = document.Host.NodeID
	}
	return s
}

// stateSet reads the state that a state set of a metrics page is in.
func stateSet(page []byte, name string) string {
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name+"{"+name+`="`)
		if state, value, found := strings.Cut(rest, `"} `); ok && found && value == "1" {
			return state
		}
	}
	return ""
}

// WriteStatus writes the status as a table for people.
func WriteStatus(w io.Writer, s Status) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tSTATE\tVERDICT\tRAFT\tJOIN\tAPI\tREPORT")
	for _, n := range s.Nodes {
		api := n.API
		if api != "" {
			api = "https://" + api
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.State, dash(n.Verdict), dash(n.Role), dash(n.Join), dash(api), dash(n.Report))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	cluster := "not initialised"
	switch {
	case s.Healthy:
		cluster = fmt.Sprintf("healthy, failure tolerance %d", s.FailureTolerance)
	case s.Initialised:
		cluster = "not healthy"
	}
	_, err := fmt.Fprintf(w, "\nimage %s; seal %s; cluster %s\n", s.Image, s.Seal, cluster)
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
