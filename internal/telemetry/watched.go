package telemetry

import "github.com/prometheus/client_golang/prometheus"

// watched is what the host announces by itself.
type watched struct {
	announcements *prometheus.CounterVec
	listening     *prometheus.GaugeVec
}

func newWatched() watched {
	return watched{
		announcements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostcheck_announcements_total",
			Help: "How often the kernel or systemd has announced a change of the host, since the agent started.",
		}, []string{"source"}),
		listening: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hostcheck_listening",
			Help: "Whether the agent hears what a source announces; if not, the reading every ten seconds finds a change.",
		}, []string{"source"}),
	}
}

// Announced counts an announcement.
func (e *Exporter) Announced(source string) { e.watched.announcements.WithLabelValues(source).Inc() }

// SetListening says whether a source is listened to.
func (e *Exporter) SetListening(source string, yes bool) {
	e.watched.announcements.WithLabelValues(source) // a series that starts at 0
	e.watched.listening.WithLabelValues(source).Set(truth(yes))
}
