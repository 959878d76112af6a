package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// healthQuery is what a load balancer asks for, with the parameters of Vault's sys/health.
type healthQuery struct {
	okay  map[string]bool // standbyok, perfstandbyok, as far as they are given
	codes map[string]int  // the others
}

// parseHealthQuery understands a query. What Vault would pass over in silence, a name that it does not know or a second
// value, is a mistake here: a load balancer would go by an answer that nobody has asked for. All mistakes are told.
func parseHealthQuery(raw string) (healthQuery, error) {
	q := healthQuery{map[string]bool{}, map[string]int{}}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("cannot read the query: %w", err)
	}
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			mistakes = append(mistakes, fmt.Errorf("%s is given more than once", name))
			continue
		}
		if err := q.set(name, values[name][0]); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return q, errors.Join(mistakes...)
}

func (q healthQuery) set(name, value string) error {
	for _, s := range healthStates {
		switch {
		case name == "":
		case name == s.okay:
			ok, err := strconv.ParseBool(cmp.Or(value, "false")) // as Vault reads an empty value
			if err != nil {
				return fmt.Errorf("%s is %q: want true or false", name, value)
			}
			q.okay[name] = ok
			return nil
		case name == s.parameter:
			code, err := strconv.Atoi(value)
			if err != nil || code < 200 || code > 599 {
				return fmt.Errorf("%s is %q: want a status code from 200 to 599", name, value)
			}
			if code < 300 && !s.servable {
				return fmt.Errorf("%s is %d: a node that is %s takes no traffic, so no success can be asked for; ask /livez whether the machine lives", name, code, s.name)
			}
			q.codes[name] = code
			return nil
		}
	}
	return fmt.Errorf("there is no parameter %q; there are %s", name, strings.Join(healthParameters(), ", "))
}

func healthParameters() []string {
	var names []string
	for _, s := range healthStates {
		if s.okay != "" {
			names = append(names, s.okay)
		}
		names = append(names, s.parameter)
	}
	return names
}

// code is the answer for a state. It is Vault's, with one exception: a standby about which the query says nothing is
// as good as the active node. docs/telemetry.md argues it.
func (q healthQuery) code(s healthState) int {
	code, given := q.codes[s.parameter]
	if s.okay != "" {
		ok, asked := q.okay[s.okay]
		if ok || !asked && !given {
			return q.code(active)
		}
	}
	if given {
		return code
	}
	return s.code
}
