package control

// GuideItem is one recommendation of Vault's production hardening guide, which controls cite by its id.
type GuideItem struct {
	ID    string     `json:"id"` // "B4", "E1"
	Title string     `json:"title"`
	Level GuideLevel `json:"level"`
	Asks  string     `json:"asks"` // what it wants of a node, in one sentence
}

// GuideLevel is how strongly the guide recommends an item.
type GuideLevel string

const (
	GuideBaseline GuideLevel = "baseline" // for every deployment
	GuideExtended GuideLevel = "extended" // more overhead, not for every deployment
)
