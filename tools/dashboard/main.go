// Command dashboard writes the Grafana dashboard of docs/monitoring: `go run ./tools/dashboard > docs/monitoring/strongroom-dashboard.json`.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	text, err := write()
	if err != nil {
		fmt.Fprintf(os.Stderr, "dashboard: %v\n", err)
		os.Exit(1)
	}
	os.Stdout.Write(text)
}

func write() ([]byte, error) {
	d, err := build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// Words of Grafana's palette that can be told apart without red and green alone: the panels say the word too.
const (
	good    = "green"
	bad     = "red"
	doubt   = "orange"
	neutral = "blue"
)

var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// here keeps the nodes of the chosen clusters, and those that say no cluster: one whose node.hcl could not be read is
// nobody's, and everybody has to see it.
func here(expression string) string {
	return expression + ` unless on (job, instance) hostcheck_node_info{job="$job", cluster!~"$cluster"}`
}

// info puts the labels of a family onto others.
func info(labels, family string) string {
	return ` * on (job, instance) group_left (` + labels + `) ` + family + `{job="$job"}`
}

func build() (dashboard.Dashboard, error) {
	text := func(s string) dashboard.StringOrArrayOfString {
		return dashboard.StringOrArrayOfString{String: cog.ToPtr(s)}
	}
	d := dashboard.NewDashboardBuilder("Strongroom").
		Uid("strongroom").
		Description("The nodes of Vault and OpenBao that hostcheck watches: docs/telemetry.md of Strongroom.").
		Tags([]string{"strongroom", "vault", "openbao"}).
		Timezone("utc").
		Refresh("30s").
		Time("now-6h", "now").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		WithVariable(dashboard.NewTextBoxVariableBuilder("job").Label("Job of the agents").
			DefaultValue(dashboard.StringOrMap{String: cog.ToPtr("strongroom")}).
			Current(dashboard.VariableOption{Text: text("strongroom"), Value: text("strongroom")})).
		WithVariable(dashboard.NewQueryVariableBuilder("cluster").Label("Cluster").Datasource(source).
			Query(dashboard.StringOrMap{String: cog.ToPtr(`label_values(hostcheck_node_info{job="$job"}, cluster)`)}).
			Refresh(dashboard.VariableRefreshOnDashboardLoad).Multi(true).IncludeAll(true).AllValue(".*").
			Current(dashboard.VariableOption{Text: text("All"), Value: text("$__all")}))

	d = d.WithRow(dashboard.NewRowBuilder("Now")).
		WithPanel(number("Nodes", "Agents that have judged their node.", `count(`+here(`hostcheck_gate_open{job="$job"}`)+`)`, neutral, neutral)).
		WithPanel(number("Not passing", "Nodes whose verdict is fail or unknown.", `count(`+here(`(hostcheck_verdict{job="$job", hostcheck_verdict="pass"} == 0)`)+`) or vector(0)`, good, bad)).
		WithPanel(number("Gates closed", "Nodes on which the server is kept down.", `count(`+here(`(hostcheck_gate_open{job="$job"} == 0)`)+`) or vector(0)`, good, bad)).
		WithPanel(number("Agents silent", "Targets that are not reached, of every cluster: what is not reached says no cluster.", `count(up{job="$job"} == 0) or vector(0)`, good, bad)).
		WithPanel(number("Mixed clusters", "Clusters whose nodes are not judged by one baseline: a rollout, or one that has stopped half way.", `count(count by (cluster) (count by (cluster, digest) (hostcheck_baseline_info{job="$job"}`+info("cluster", `hostcheck_node_info`)+`)) > 1) or vector(0)`, good, doubt)).
		WithPanel(number("Drift, last day", "How often a control that had passed did not pass any more.", `round(sum(`+here(`increase(hostcheck_drift_total{job="$job"}[1d])`)+`)) or vector(0)`, good, doubt)).
		WithPanel(stacked("Nodes by verdict", "A node that says nothing is in none of them.", 12,
			query(`sum by (hostcheck_verdict) (`+here(`hostcheck_verdict{job="$job"}`)+`)`, "{{hostcheck_verdict}}"))).
		WithPanel(listing("What does not hold", "Each control that fails or cannot be told, with its node. Reasons and fixes are in the node's /report.", 12,
			`sum by (instance, check, hostcheck_check_status) (`+here(`(hostcheck_check_status{job="$job", hostcheck_check_status=~"fail|unknown"} == 1)`)+`)`))

	d = d.WithRow(dashboard.NewRowBuilder("Drift")).
		WithPanel(lines("Controls that do not hold", "On how many nodes.", 12, "short",
			query(`count by (check) (`+here(`(hostcheck_check_status{job="$job", hostcheck_check_status=~"fail|unknown"} == 1)`)+`)`, "{{check}}"))).
		WithPanel(lines("Drift", "How often a control that had passed did not pass any more, in five minutes.", 12, "short",
			query(`sum by (check) (`+here(`increase(hostcheck_drift_total{job="$job"}[5m])`)+`) > 0`, "{{check}}"))).
		WithPanel(states("Verdict of each node", "For many nodes choose one cluster.", 24,
			query(here(`(hostcheck_verdict{job="$job", hostcheck_verdict="pass"})`), "{{instance}}")))

	d = d.WithRow(dashboard.NewRowBuilder("Images and clusters")).
		WithPanel(lines("Nodes by image", "More than one version in a cluster is a rollout, or one that has stopped half way.", 8, "short",
			query(`count by (cluster, version) (hostcheck_image_info{job="$job"}`+info("cluster", `hostcheck_node_info`)+`)`, "{{cluster}} {{version}}"))).
		WithPanel(lines("Nodes by baseline", "All nodes of a cluster should be judged by one.", 8, "short",
			query(`count by (cluster, digest) (hostcheck_baseline_info{job="$job"}`+info("cluster", `hostcheck_node_info`)+`)`, "{{cluster}} {{digest}}"))).
		WithPanel(lines("Where nodes are on their way into the cluster", "ready is the end of it.", 8, "short",
			query(`sum by (hostcheck_join_state) (`+here(`hostcheck_join_state{job="$job"}`)+`) > 0`, "{{hostcheck_join_state}}"))).
		WithPanel(lines("Failure tolerance", "Of autopilot, by the server's own metrics: how many nodes the cluster can lose.", 8, "short",
			query(`max by (job) (vault_autopilot_failure_tolerance)`, "{{job}}"))).
		WithPanel(lines("Age of the newest snapshot", "Of each sink, as the node tells that leads.", 8, "s",
			query(`time() - max by (sink) (`+here(`hostcheck_snapshot_taken_timestamp_seconds{job="$job"}`)+`)`, "{{sink}}"))).
		WithPanel(lines("Snapshots that fail", "1: the sink failed in the last run.", 8, "short",
			query(`max by (sink) (`+here(`hostcheck_snapshot_failed{job="$job"}`)+`)`, "{{sink}}")))

	d = d.WithRow(dashboard.NewRowBuilder("What ends")).
		WithPanel(days("Certificates", "Days until they end, the first ten.",
			`bottomk(10, (`+here(`hostcheck_tls_expiry_timestamp_seconds{job="$job"}`)+`) - time())`, "{{instance}} {{certificate}}")).
		WithPanel(days("Waivers", "Days until a control that does not hold is a failure again.",
			`bottomk(10, min by (check) (`+here(`hostcheck_waiver_expiry_timestamp_seconds{job="$job"}`)+`) - time())`, "{{check}}"))

	d = d.WithRow(dashboard.NewRowBuilder("The agents themselves")).
		WithPanel(lines("Time of a judgement", "The 99th percentile of all nodes.", 8, "s",
			query(`histogram_quantile(0.99, sum by (le) (`+here(`rate(hostcheck_run_duration_seconds_bucket{job="$job"}[5m])`)+`))`, "99 %"))).
		WithPanel(lines("Memory", "Resident, the five largest.", 8, "bytes",
			query(`topk(5, `+here(`process_resident_memory_bytes{job="$job"}`)+`)`, "{{instance}}"))).
		WithPanel(lines("Processor", "Of one core, the five busiest.", 8, "percentunit",
			query(`topk(5, `+here(`rate(process_cpu_seconds_total{job="$job"}[5m])`)+`)`, "{{instance}}")))
	built, err := d.Build()
	if err != nil {
		return built, err
	}
	number := uint32(0) // Grafana wants each panel to have one of its own
	for i := range built.Panels {
		number++
		if p := built.Panels[i].Panel; p != nil {
			p.Id = cog.ToPtr(number)
		} else {
			built.Panels[i].RowPanel.Id = number
		}
	}
	return built, nil
}

func query(expression, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source).Expr(expression).RefId("A").LegendFormat(legend).Range()
}

func instant(expression string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source).Expr(expression).RefId("A").Instant()
}

// threshold is one colour up to a value, and another from it on.
func threshold(below, from string, value float64) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps([]dashboard.Threshold{{Color: below}, {Value: cog.ToPtr(value), Color: from}})
}

func number(title, description, expression, none, some string) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(description).Datasource(source).Span(4).Height(4).
		GraphMode(common.BigValueGraphModeNone).ColorMode(common.BigValueColorModeValue).
		Thresholds(threshold(none, some, 1)).WithTarget(instant(expression))
}

func lines(title, description string, width uint32, unit string, q *prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().Title(title).Description(description).Datasource(source).Span(width).Height(8).
		Unit(unit).Min(0).LineWidth(2).WithTarget(q)
}

func stacked(title, description string, width uint32, q *prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	p := lines(title, description, width, "short", q).FillOpacity(70).LineWidth(0).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	for _, v := range []struct{ verdict, color string }{{"pass", good}, {"fail", bad}, {"unknown", doubt}} {
		p = p.OverrideByName(v.verdict, []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": v.color}}})
	}
	return p
}

func listing(title, description string, width uint32, expression string) *table.PanelBuilder {
	return table.NewPanelBuilder().Title(title).Description(description).Datasource(source).Span(width).Height(8).
		WithTarget(instant(expression).Format(prometheus.PromQueryFormatTable)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true, "Value": true},
			"renameByName":  map[string]string{"instance": "Node", "check": "Control", "hostcheck_check_status": "Outcome"},
		}})
}

func states(title, description string, width uint32, q *prometheus.DataqueryBuilder) *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().Title(title).Description(description).Datasource(source).Span(width).Height(10).
		ShowValue(common.VisibilityModeNever).Thresholds(threshold(bad, good, 1)).
		Mappings([]dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: map[string]dashboard.ValueMappingResult{
			"0": {Text: cog.ToPtr("does not pass")}, "1": {Text: cog.ToPtr("pass")},
		}}}}).WithTarget(q)
}

func days(title, description, expression, legend string) *bargauge.PanelBuilder {
	return bargauge.NewPanelBuilder().Title(title).Description(description).Datasource(source).Span(12).Height(8).
		Unit("s").Min(0).Orientation(common.VizOrientationHorizontal).
		Thresholds(threshold(bad, good, 14*86400)).WithTarget(instant(expression).LegendFormat(legend))
}
