package node

import (
	"fmt"
	"regexp"
	"sync"
)

// clusterName is compiled on first use, as hostname is.
var clusterName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)
})

// check judges the values that decoded, and gives them their types.
func check(spec fileSpec, at locator, image Image, wrong *Mistakes) *Config {
	if cluster := at.block("cluster"); cluster.isString("name") && !clusterName().MatchString(spec.Cluster.Name) {
		wrong.add(cluster.attribute("name"), "1 to 64 letters, digits, dots, dashes and underscores",
			"cluster name %q is not a name", spec.Cluster.Name)
	}
	if at.isString("api_addr") {
		if err := checkShape(spec.APIAddr, CheckURL); err != nil {
			wrong.add(at.attribute("api_addr"), "for example \"https://vault-1.example.net:8200\"", "api_addr: %v", err)
		}
	}
	if at.isString("cluster_addr") {
		if err := checkShape(spec.ClusterAddr, CheckClusterURL(image.ClusterPort)); err != nil {
			wrong.add(at.attribute("cluster_addr"), fmt.Sprintf("for example \"https://{{ GetPrivateIP }}:%d\"", image.ClusterPort), "cluster_addr: %v", err)
		}
	}
	checkMemoryLock(spec.MemoryLock, at, image, wrong)
	if at.isString("moved_from") && !IsMachineName(spec.MovedFrom) {
		wrong.add(at.attribute("moved_from"), "the name that the refusal told, for example \"aws i-0123456789abcdef0\"",
			"moved_from %q is not the name of a machine", spec.MovedFrom)
	}
	if at.isString("on_drift") && spec.OnDrift != "report" && spec.OnDrift != "stop" {
		wrong.add(at.attribute("on_drift"), "write \"report\", which is the default, or \"stop\"", "on_drift %q is neither report nor stop", spec.OnDrift)
	}
	config := &Config{
		StopOnDrift: spec.OnDrift == "stop",
		ClusterName: spec.Cluster.Name,
		APIAddr:     spec.APIAddr,
		ClusterAddr: spec.ClusterAddr,
		MovedFrom:   spec.MovedFrom,
		Join:        spec.Join.check(at, wrong),
		Raft:        spec.Raft.check(at, wrong),
		Seal:        spec.Seal.check(at, image.Server, wrong),
		TLS:         spec.TLS.check(at, wrong),
		Auth:        spec.Auth.check(at, wrong),
		Telemetry:   spec.Telemetry.check(at, wrong),
		Recovery:    spec.Recovery.check(at, wrong),
		Snapshot:    spec.Snapshot.check(at, wrong),
		Audit:       checkAudit(at, wrong),
		Logs:        spec.Logs.check(at, wrong),
		Retire:      checkRetire(at, wrong),
		Firewall:    spec.Firewall.check(at, wrong),
		Bootstrap:   spec.Bootstrap.check(at, wrong),
	}
	checkReach(config, at, wrong)
	config.Bootstrap.reachable(config.Firewall, at, wrong)
	return config
}

// checkMemoryLock compares what node.hcl says with what was baked: limits, capabilities and the rule about swap go
// with it, and cannot be changed on the node.
func checkMemoryLock(text string, at locator, image Image, wrong *Mistakes) {
	if !at.isString("memory_lock") {
		return
	}
	baked := map[bool]string{true: "on", false: "off"}[image.MemoryLock]
	switch text {
	case baked:
	case "on", "off":
		wrong.add(at.attribute("memory_lock"), "bake an image with the parameter memory_lock = "+text+", or leave the key out",
			"memory_lock is %s, and this image was baked with %s", text, baked)
	default:
		wrong.add(at.attribute("memory_lock"), "write \"on\" or \"off\"", "memory_lock %q is neither on nor off", text)
	}
}
