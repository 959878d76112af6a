package inspect

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/leaks"
)

// leaks looks for secrets and for what is left of the machine that made the root, as the gate of a bake does.
func (in *inspector) leaks(ctx context.Context) {
	found, err := leaks.Scan(ctx, in.tree, in.options.AllowedLeaks)
	in.Root.Leaks = found
	if err != nil {
		in.add("leaks", Unknown, in.root.name, "not everything could be looked through: %v", err)
	}
	for _, f := range found {
		in.add("leaks", Fail, in.root.name, "%v", f).Hint = f.Fix
	}
	if err != nil || len(found) > 0 {
		return
	}
	if n := len(in.options.AllowedLeaks); n > 0 {
		var names []string
		for _, a := range in.options.AllowedLeaks {
			names = append(names, a.Path+" ("+a.Kind+")")
		}
		in.add("leaks", Pass, in.root.name, "no secrets and nothing of the machine that made it, but for %d allowed: %s", n, strings.Join(names, ", "))
		return
	}
	in.add("leaks", Pass, in.root.name, "no secrets in it, and nothing of the machine that made it")
}
