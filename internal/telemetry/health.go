package telemetry

// Health is what the local server says about itself at sys/health. OpenBao says less than Vault: what it leaves out
// is false.
type Health struct {
	Initialized        bool
	Sealed             bool
	Standby            bool
	PerformanceStandby bool // Vault Enterprise
	DRSecondary        bool // Vault Enterprise
	Removed            bool // from the cluster: only a new data directory leads back
	Cut                bool // a standby that has lost the active node
}

// healthState is one of the states between which sys/health tells, with Vault's names and codes.
type healthState struct {
	name      string // "standby"
	code      int    // that Vault answers with
	parameter string // of the query, that asks for another code
	okay      string // of the query, that asks for the code of the active node; empty: there is none
	servable  bool   // a load balancer may be told to send traffic here
}

var (
	uninitialized      = healthState{"not initialized", 501, "uninitcode", "", false}
	removed            = healthState{"removed from the cluster", 530, "removedcode", "", false}
	sealed             = healthState{"sealed", 503, "sealedcode", "", false}
	cut                = healthState{"a standby without its active node", 474, "haunhealthycode", "", true}
	drSecondary        = healthState{"a disaster recovery secondary", 472, "drsecondarycode", "", true}
	performanceStandby = healthState{"a performance standby", 473, "performancestandbycode", "perfstandbyok", true}
	standby            = healthState{"a standby", 429, "standbycode", "standbyok", true}
	active             = healthState{"active", 200, "activecode", "", true}

	healthStates = []healthState{uninitialized, removed, sealed, cut, drSecondary, performanceStandby, standby, active}
)

// state decides in Vault's order.
func (h Health) state() healthState {
	switch {
	case !h.Initialized:
		return uninitialized
	case h.Removed:
		return removed
	case h.Sealed:
		return sealed
	case h.Cut:
		return cut
	case h.DRSecondary:
		return drSecondary
	case h.PerformanceStandby:
		return performanceStandby
	case h.Standby:
		return standby
	}
	return active
}
