package node

import "strconv"

// Raft is how the server's storage keeps time.
type Raft struct {
	// PerformanceMultiplier stretches Raft's timeouts, 1 to 10: how soon a dead leader is missed, and how slow a living one may be.
	PerformanceMultiplier int `json:"performance_multiplier"`
}

type raftSpec struct {
	PerformanceMultiplier string `hcl:"performance_multiplier,optional"`
}

// productionMultiplier is what both servers' documentation recommends for production; they would take 5, for the smallest machines.
const productionMultiplier = 1

func (s *raftSpec) check(at locator, wrong *Mistakes) Raft {
	r := Raft{PerformanceMultiplier: productionMultiplier}
	if s == nil {
		return r
	}
	block := at.block("raft")
	if !block.isString("performance_multiplier") {
		return r
	}
	n, err := strconv.Atoi(s.PerformanceMultiplier)
	if err != nil || n < 1 || n > 10 || strconv.Itoa(n) != s.PerformanceMultiplier {
		wrong.add(block.attribute("performance_multiplier"), "write \"1\" to \"10\", or leave the block out",
			"performance_multiplier %q is not a number from 1 to 10", s.PerformanceMultiplier)
	}
	r.PerformanceMultiplier = n
	return r
}
