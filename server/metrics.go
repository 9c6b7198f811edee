package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/agentdb/agentdb/internal/tenant"
)

// metrics is what /metrics shows. Nothing of it names a database.
type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	in, out     prometheus.Counter
	connections prometheus.Gauge
	handler     http.Handler
}

func newMetrics(dbs databases, streams func() int) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentdb_requests_total",
			Help: "Requests by route and status. The route poll is a sync that may wait for news.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "agentdb_request_seconds",
			Help:    "Time from a request's header to its answer's end, by route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12),
		}, []string{"route"}),
		in: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agentdb_received_bytes_total", Help: "Bytes of request bodies, as received.",
		}),
		out: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agentdb_sent_bytes_total", Help: "Bytes of answer bodies, as sent.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agentdb_connections", Help: "Connections open now.",
		}),
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "agentdb_streams_waiting", Help: "SQL streams over HTTP that wait for their client's next request.",
	}, func() float64 { return float64(streams()) })
	reg := prometheus.NewRegistry()
	reg.MustRegister(m.requests, m.seconds, m.in, m.out, m.connections, waiting, newTenantCollector(dbs.Stats),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return m
}

// observe counts an answered request.
func (m *metrics) observe(w *recorder, took time.Duration) {
	m.requests.WithLabelValues(w.route, strconv.Itoa(w.status)).Inc()
	m.seconds.WithLabelValues(w.route).Observe(took.Seconds())
	m.in.Add(float64(w.in))
	m.out.Add(float64(w.out))
}

// tenantCollector turns the databases' own counts into metrics when asked.
type tenantCollector struct {
	stats func() tenant.Stats
	rows  []tenantRow
}

type tenantRow struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(tenant.Stats) float64
}

func newTenantCollector(stats func() tenant.Stats) *tenantCollector {
	row := func(name, help string, kind prometheus.ValueType, of func(tenant.Stats) float64) tenantRow {
		return tenantRow{prometheus.NewDesc("agentdb_"+name, help, nil, nil), kind, of}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return &tenantCollector{stats: stats, rows: []tenantRow{
		row("databases_open", "Databases with an open file.", gauge, func(s tenant.Stats) float64 { return float64(s.Open) }),
		row("polls_waiting", "Requests waiting for news.", gauge, func(s tenant.Stats) float64 { return float64(s.Waiting) }),
		row("commits_total", "Commits appended to the history.", counter, func(s tenant.Stats) float64 { return float64(s.Commits) }),
		row("changes_total", "Changes received from replicas.", counter, func(s tenant.Stats) float64 { return float64(s.Changes) }),
		row("conflicts_total", "Operations recorded as conflicts.", counter, func(s tenant.Stats) float64 { return float64(s.Conflicts) }),
		row("snapshots_total", "Snapshots started.", counter, func(s tenant.Stats) float64 { return float64(s.Snapshots) }),
		row("rebuilds_total", "Cached files rebuilt from the history.", counter, func(s tenant.Stats) float64 { return float64(s.Rebuilds) }),
		row("pushed_bytes_total", "Bytes of changes received, decompressed.", counter, func(s tenant.Stats) float64 { return float64(s.PushedBytes) }),
		row("pulled_bytes_total", "Bytes of commits and pages sent, before compression.", counter, func(s tenant.Stats) float64 { return float64(s.PulledBytes) }),
	}}
}

// Describe implements prometheus.Collector.
func (c *tenantCollector) Describe(out chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		out <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (c *tenantCollector) Collect(out chan<- prometheus.Metric) {
	s := c.stats()
	for _, r := range c.rows {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.of(s))
	}
}
