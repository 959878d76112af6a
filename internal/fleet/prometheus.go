package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/strongroom/strongroom/internal/control"
)

// Prometheus is asked what it has scraped from the agents.
type Prometheus struct {
	URL    string
	Job    string            // of the agents: "strongroom"
	Window time.Duration     // how far back the changes go
	Client http.RoundTripper // nil: Go's own
}

// points is how many moments of the window are looked at: a column of the drift's picture each.
const points = 240

// Ask gathers how the nodes are now, and which of their controls did not hold in the window before. A change that was
// over between two of the moments that are looked at is told by the agents' own count.
func (p Prometheus) Ask(ctx context.Context, now time.Time, known map[string]Control) (*Fleet, error) {
	where, err := url.Parse(p.URL)
	if err != nil || where.Host == "" || where.Scheme != "http" && where.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of a Prometheus: https://prometheus.example.net:9090", p.URL)
	}
	if where.User != nil {
		return nil, fmt.Errorf("the URL of Prometheus has a password in it, which every process here can read: put it into --http-config")
	}
	client, err := api.NewClient(api.Config{Address: p.URL, RoundTripper: p.Client})
	if err != nil {
		return nil, fmt.Errorf("cannot ask Prometheus: %w", err)
	}
	step := (p.Window / points).Round(time.Second)
	q := &questions{ctx: ctx, api: prom.NewAPI(client), job: p.Job, at: now.UTC().Truncate(time.Second), window: p.Window, step: max(step, time.Second)}
	f := &Fleet{Source: "Prometheus at " + where.Host, At: q.at, Since: q.at.Add(-p.Window), Step: q.step}

	names := q.nodes(f)
	if q.err == nil && len(f.Nodes) == 0 {
		return nil, fmt.Errorf("prometheus at %s has no target of the job %q: name the agents' job by --job", where.Host, p.Job)
	}
	q.outcomes(f, names)
	q.spans(f, names)
	if q.err != nil {
		return nil, fmt.Errorf("cannot ask Prometheus: %w", q.err)
	}
	f.describe(known)
	f.sort()
	return f, nil
}

// questions are put to one Prometheus; after the first that fails no other is asked.
type questions struct {
	ctx          context.Context
	api          prom.API
	job          string
	at           time.Time
	window, step time.Duration
	err          error
}

// metric is a family of the agents, with more matchers.
func (q *questions) metric(name string, matchers ...string) string {
	return fmt.Sprintf("%s{%s}", name, strings.Join(append([]string{fmt.Sprintf("job=%q", q.job)}, matchers...), ","))
}

func (q *questions) now(expression string) model.Vector {
	if q.err != nil {
		return nil
	}
	value, _, _, err := q.api.Query(q.ctx, expression, q.at)
	if err != nil {
		q.err = fmt.Errorf("%s: %w", expression, err)
		return nil
	}
	vector, _ := value.(model.Vector)
	return vector
}

func (q *questions) history(expression string) model.Matrix {
	if q.err != nil {
		return nil
	}
	value, _, _, err := q.api.QueryRange(q.ctx, expression, prom.Range{Start: q.at.Add(-q.window), End: q.at, Step: q.step})
	if err != nil {
		q.err = fmt.Errorf("%s: %w", expression, err)
		return nil
	}
	matrix, _ := value.(model.Matrix)
	return matrix
}

// nodes fills in what each node is, and gives the names of the instances.
func (q *questions) nodes(f *Fleet) map[model.LabelValue]string {
	found := map[model.LabelValue]*Node{}
	for _, s := range q.now(q.metric("up")) {
		n := &Node{Verdict: Silent, Outcomes: map[string]control.Outcome{}}
		if s.Value == 1 {
			n.Verdict = Unknown // until it says one
		}
		found[s.Metric["instance"]] = n
	}
	// What a node that says nothing said last: it is asked first, and what is said now replaces it.
	about := func(set func(*Node, model.Metric), name string) {
		before := map[model.LabelValue][]model.Metric{}
		for _, s := range q.now(fmt.Sprintf("last_over_time(%s[%s])", q.metric(name), model.Duration(q.window))) {
			before[s.Metric["instance"]] = append(before[s.Metric["instance"]], s.Metric)
		}
		for instance, list := range before {
			if n := found[instance]; n != nil && n.Verdict == Silent && len(list) == 1 {
				set(n, list[0])
			}
		}
		for _, s := range q.now(q.metric(name)) {
			if n := found[s.Metric["instance"]]; n != nil {
				set(n, s.Metric)
			}
		}
	}
	about(func(n *Node, m model.Metric) { n.Name, n.Cluster = string(m["node_id"]), string(m["cluster"]) }, "hostcheck_node_info")
	about(func(n *Node, m model.Metric) {
		n.Image, n.ImageVersion, n.RootHash = string(m["name"]), string(m["version"]), string(m["root_hash"])
	}, "hostcheck_image_info")
	about(func(n *Node, m model.Metric) { n.Baseline = string(m["digest"]) }, "hostcheck_baseline_info")

	each := func(expression string, set func(*Node, *model.Sample)) {
		for _, s := range q.now(expression) {
			if n := found[s.Metric["instance"]]; n != nil && n.Verdict != Silent {
				set(n, s)
			}
		}
	}
	each(q.metric("hostcheck_verdict")+" == 1", func(n *Node, s *model.Sample) {
		if v := string(s.Metric["hostcheck_verdict"]); rank(v) >= 0 && v != Silent {
			n.Verdict = v
		}
	})
	each(q.metric("hostcheck_stage")+" == 1", func(n *Node, s *model.Sample) { n.Stage = string(s.Metric["hostcheck_stage"]) })
	each(q.metric("hostcheck_join_state")+" == 1", func(n *Node, s *model.Sample) { n.Join = string(s.Metric["hostcheck_join_state"]) })
	each(q.metric("hostcheck_gate_open")+" == 0", func(n *Node, s *model.Sample) { n.GateClosed = true })
	each(q.metric("hostcheck_last_run_timestamp_seconds"), func(n *Node, s *model.Sample) {
		n.Judged = time.Unix(int64(s.Value), 0).UTC()
	})
	each(q.metric("hostcheck_check_status", `hostcheck_check_status!="pass"`)+" == 1", func(n *Node, s *model.Sample) {
		var o control.Outcome
		_ = o.UnmarshalText([]byte(s.Metric["hostcheck_check_status"])) // what nobody knows is unknown
		n.Outcomes[string(s.Metric["check"])] = o
	})

	names, taken := map[model.LabelValue]string{}, map[string]bool{}
	for _, instance := range slices.Sorted(maps.Keys(found)) {
		n := found[instance]
		n.Name = cmp.Or(n.Name, string(instance))
		if taken[n.Name] { // two machines that say the same of themselves
			n.Name += " at " + string(instance)
		}
		taken[n.Name] = true
		names[instance] = n.Name
		f.Nodes = append(f.Nodes, *n)
	}
	return names
}

// outcomes fills in which controls there are, and where those hold that do not hold somewhere.
func (q *questions) outcomes(f *Fleet, names map[model.LabelValue]string) {
	for _, s := range q.now("group by (check) (" + q.metric("hostcheck_check_status") + ")") {
		f.Controls = append(f.Controls, Control{ID: string(s.Metric["check"])})
	}
	sore, byName := map[string]bool{}, map[string]*Node{}
	for i := range f.Nodes {
		byName[f.Nodes[i].Name] = &f.Nodes[i]
		for id, o := range f.Nodes[i].Outcomes {
			if bad(o) && control.ValidID(id) {
				sore[id] = true
			}
		}
	}
	if len(sore) == 0 {
		return
	}
	ids := strings.Join(slices.Sorted(maps.Keys(sore)), "|")
	for _, s := range q.now(q.metric("hostcheck_check_status", `hostcheck_check_status="pass"`, fmt.Sprintf("check=~%q", ids)) + " == 1") {
		if n := byName[names[s.Metric["instance"]]]; n != nil && n.Verdict != Silent {
			n.Outcomes[string(s.Metric["check"])] = control.Pass
		}
	}
}

// spans fills in when what did not hold, and when who said nothing.
func (q *questions) spans(f *Fleet, names map[model.LabelValue]string) {
	name := func(m model.Metric) string {
		return cmp.Or(names[m["instance"]], string(m["instance"])) // one that is gone has its instance's name
	}
	for _, s := range q.history(q.metric("hostcheck_check_status", `hostcheck_check_status=~"fail|unknown"`) + " == 1") {
		var o control.Outcome
		_ = o.UnmarshalText([]byte(s.Metric["hostcheck_check_status"]))
		f.Spans = append(f.Spans, q.merge(s.Values, Span{Node: name(s.Metric), Control: string(s.Metric["check"]), Outcome: o})...)
	}
	for _, s := range q.history(q.metric("up") + " == 0") {
		f.Spans = append(f.Spans, q.merge(s.Values, Span{Node: name(s.Metric)})...)
	}
	seen := map[[2]string]bool{}
	for _, s := range f.Spans {
		seen[[2]string{s.Node, s.Control}] = true
	}
	for _, s := range q.now(fmt.Sprintf("increase(%s[%s]) > 0", q.metric("hostcheck_drift_total"), model.Duration(q.window))) {
		if key := [2]string{name(s.Metric), string(s.Metric["check"])}; !seen[key] {
			f.Brief = append(f.Brief, Brief{key[0], key[1], max(1, int(math.Round(float64(s.Value))))})
		}
	}
}

// merge makes times of moments.
func (q *questions) merge(moments []model.SamplePair, like Span) []Span {
	var spans []Span
	for _, m := range moments {
		at := m.Timestamp.Time().UTC()
		end := at.Add(q.step)
		if end.After(q.at) {
			end = q.at
		}
		if n := len(spans); n > 0 && !at.After(spans[n-1].To.Add(q.step/2)) {
			spans[n-1].To = end
			continue
		}
		like.From, like.To = at, end
		spans = append(spans, like)
	}
	return spans
}
