package control

// Guide is the published hardening guide that a catalogue follows, in our own words.
type Guide struct {
	Name     string      `yaml:"name" json:"name"`
	Revision string      `yaml:"revision" json:"revision"` // the day on which the document was changed last, "2026-06-25"
	URL      string      `yaml:"url" json:"url"`
	Items    []GuideItem `yaml:"items" json:"items"` // in the document's order
}

// GuideItem is one recommendation of Vault's production hardening guide, which controls cite by its id.
type GuideItem struct {
	ID    string     `yaml:"id" json:"id"` // "B4", "E1"
	Title string     `yaml:"title" json:"title"`
	Level GuideLevel `yaml:"level" json:"level"`
	Asks  string     `yaml:"asks" json:"asks"` // what it wants of a node, in one sentence
}

// GuideLevel is how strongly the guide recommends an item.
type GuideLevel string

const (
	GuideBaseline GuideLevel = "baseline" // for every deployment
	GuideExtended GuideLevel = "extended" // more overhead, not for every deployment
)

// Item gives an item by its id.
func (g Guide) Item(id string) (GuideItem, bool) {
	for _, item := range g.Items {
		if item.ID == id {
			return item, true
		}
	}
	return GuideItem{}, false
}
