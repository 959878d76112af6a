package telemetry

import (
	"time"

	dto "github.com/prometheus/client_model/go"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// toOTLP turns what Prometheus would scrape into OTLP, as "Prometheus and OpenMetrics compatibility" of OpenTelemetry's specification
// says: counters are cumulative sums, and names stay.
func toOTLP(families []*dto.MetricFamily, started, now time.Time) []*metrics.Metric {
	start, at := uint64(started.UnixNano()), uint64(now.UnixNano())
	var out []*metrics.Metric
	for _, f := range families {
		m := &metrics.Metric{Name: f.GetName(), Description: f.GetHelp()}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			sum := &metrics.Sum{AggregationTemporality: metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, IsMonotonic: true}
			for _, s := range f.GetMetric() {
				sum.DataPoints = append(sum.DataPoints, point(s, s.GetCounter().GetValue(), start, at))
			}
			m.Data = &metrics.Metric_Sum{Sum: sum}
		case dto.MetricType_GAUGE:
			gauge := &metrics.Gauge{}
			for _, s := range f.GetMetric() {
				gauge.DataPoints = append(gauge.DataPoints, point(s, s.GetGauge().GetValue(), 0, at))
			}
			m.Data = &metrics.Metric_Gauge{Gauge: gauge}
		case dto.MetricType_HISTOGRAM:
			h := &metrics.Histogram{AggregationTemporality: metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE}
			for _, s := range f.GetMetric() {
				h.DataPoints = append(h.DataPoints, buckets(s, start, at))
			}
			m.Data = &metrics.Metric_Histogram{Histogram: h}
		default:
			continue // the agent has no other kind
		}
		out = append(out, m)
	}
	return out
}

func point(s *dto.Metric, value float64, start, at uint64) *metrics.NumberDataPoint {
	return &metrics.NumberDataPoint{Attributes: labels(s), StartTimeUnixNano: start, TimeUnixNano: at, Value: &metrics.NumberDataPoint_AsDouble{AsDouble: value}}
}

// buckets takes apart what Prometheus adds up: its buckets hold all that is below their bound.
func buckets(s *dto.Metric, start, at uint64) *metrics.HistogramDataPoint {
	h := s.GetHistogram()
	sum := h.GetSampleSum()
	p := &metrics.HistogramDataPoint{Attributes: labels(s), StartTimeUnixNano: start, TimeUnixNano: at, Count: h.GetSampleCount(), Sum: &sum}
	below := uint64(0)
	for _, b := range h.GetBucket() {
		p.ExplicitBounds = append(p.ExplicitBounds, b.GetUpperBound())
		p.BucketCounts = append(p.BucketCounts, b.GetCumulativeCount()-below)
		below = b.GetCumulativeCount()
	}
	p.BucketCounts = append(p.BucketCounts, h.GetSampleCount()-below)
	return p
}

func labels(s *dto.Metric) []*common.KeyValue {
	var out []*common.KeyValue
	for _, l := range s.GetLabel() {
		out = append(out, attribute(l.GetName(), l.GetValue()))
	}
	return out
}
