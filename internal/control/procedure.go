package control

// KindProcedure is the kind of what no host can prove.
const KindProcedure = "procedure"

// Procedural reports whether a control states nothing that a host can show: it is about people or about
// other machines, and never a pass.
func (c Control) Procedural() bool {
	for _, r := range c.Resources {
		if r.Key().Kind != KindProcedure {
			return false
		}
	}
	return len(c.Resources) > 0
}
