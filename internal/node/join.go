package node

import (
	"strconv"
	"strings"
)

// JoinConfig is the join block: [Join] with its references unread.
type JoinConfig struct {
	Leaders    []LeaderConfig
	AutoJoin   string
	SRV        string
	Scheme     string // "https"
	Port       int
	ServerName string
}

// LeaderConfig is a member that is known by its address.
type LeaderConfig struct {
	Address    string // URL
	ServerName string
	CA         Reference // empty: the cluster's
}

// Some reports whether there is a member to look for.
func (j JoinConfig) Some() bool { return len(j.Leaders) > 0 || j.AutoJoin != "" || j.SRV != "" }

type joinSpec struct {
	Leaders    []leaderSpec `hcl:"leader,block"`
	AutoJoin   string       `hcl:"auto_join,optional"`
	SRV        string       `hcl:"srv,optional"`
	Scheme     string       `hcl:"scheme,optional"`
	Port       string       `hcl:"port,optional"`
	ServerName string       `hcl:"server_name,optional"`
}

type leaderSpec struct {
	Address    string `hcl:"address"`
	ServerName string `hcl:"server_name,optional"`
	CA         string `hcl:"ca,optional"`
}

// defaultAPIPort is where members that auto_join found are asked.
const defaultAPIPort = 8200

func (s *joinSpec) check(at locator, wrong *Mistakes) JoinConfig {
	if s == nil {
		return JoinConfig{}
	}
	block := at.block("join")
	j := JoinConfig{AutoJoin: s.AutoJoin, SRV: s.SRV, Scheme: "https", Port: defaultAPIPort, ServerName: s.ServerName}
	for i, leader := range s.Leaders {
		j.Leaders = append(j.Leaders, leader.check(block.blocks("leader").at(i), wrong))
	}
	checkServerName(block, s.ServerName, wrong)
	if block.isString("auto_join") {
		checkAutoJoin(block, s.AutoJoin, wrong)
	}
	if block.isString("srv") && (len(s.SRV) > 253 || !hostname().MatchString(s.SRV) || !strings.Contains(s.SRV, ".")) {
		wrong.add(block.attribute("srv"), "for example \"_vault._tcp.example.net\"", "srv %q is not a DNS name", s.SRV)
	}
	if block.isString("scheme") && s.Scheme != "https" {
		wrong.add(block.attribute("scheme"), "write \"https\", or leave the key out", "scheme %q: a node joins over TLS only", s.Scheme)
	}
	if block.isString("port") {
		port, err := strconv.ParseUint(s.Port, 10, 16)
		if err != nil || port == 0 {
			wrong.add(block.attribute("port"), "for example \"8200\"", "port %q is not a port", s.Port)
		}
		j.Port = int(port)
	}
	if block.count("leader") == 0 && !block.has("auto_join") && !block.has("srv") {
		wrong.add(at.start("join"), "name a leader, auto_join or srv; a node without a join block is a cluster of its own", "join names no member")
	}
	return j
}

func (s leaderSpec) check(at locator, wrong *Mistakes) LeaderConfig {
	if at.isString("address") {
		if err := CheckURL(s.Address); err != nil {
			wrong.add(at.attribute("address"), "for example \"https://vault-1.example.net:8200\"", "address: %v", err)
		}
	}
	checkServerName(at, s.ServerName, wrong)
	return LeaderConfig{Address: s.Address, ServerName: s.ServerName, CA: reference(at, "ca", s.CA, "", wrong)}
}

func checkServerName(at locator, name string, wrong *Mistakes) {
	if at.isString("server_name") && (len(name) > 253 || !hostname().MatchString(name)) {
		wrong.add(at.attribute("server_name"), "a name that the certificates have, for example \"vault.example.net\"", "server_name %q is not a host name", name)
	}
}
