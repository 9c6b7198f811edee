package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// wellReport is a report of a run in which all went well.
func wellReport() *report {
	good := func() *content {
		return &content{Hash: strings.Repeat("ab", 32), Integrity: "ok", Hits: 2, Answer: []string{"p.F", "q.G"}}
	}
	r := &report{
		diffs:  []difference{{Table: "packages", Got: 2, Want: 2}, {Table: "symbols", Got: 5, Want: 5}},
		copies: []file{{"server", good()}, {"coordinator", good()}, {"worker-1", good()}},
		alike:  file{"single process", good()},
		workers: []*member{
			{orders: orders{Name: "worker-1"}, injury: injury{fate: fateKill, struck: time.Now(), healed: true, fell: 1}},
			{orders: orders{Name: "worker-2"}, injury: injury{fate: fateCut, struck: time.Now(), healed: true, fell: 4}},
		},
	}
	r.alike.content.Hash = "its ids are others" // and that is fine
	return r
}

func TestReportNotices(t *testing.T) {
	for name, spoil := range map[string]func(*report){
		"":                 func(*report) {},
		"2 rows lost":      func(r *report) { r.diffs[1].Lost = 2 },
		"3 too many":       func(r *report) { r.diffs[1].Extra = 3 },
		"want 2":           func(r *report) { r.diffs[0].Got = 1 },
		"other content":    func(r *report) { r.copies[2].content.Hash = strings.Repeat("cd", 32) },
		"integrity check":  func(r *report) { r.copies[1].content.Integrity = "row 1 missing" },
		"answers the":      func(r *report) { r.alike.content.Answer = []string{"q.G", "p.F"} },
		"otherwise: 1":     func(r *report) { r.copies[1].content.Hits = 1 },
		"meet its fate":    func(r *report) { r.workers[0].healed = false },
		"worker-2 did not": func(r *report) { r.workers[1].struck = time.Time{} },
		"1 conflicts":      func(r *report) { r.copies[0].content.Conflicts = 1 },
	} {
		r := wellReport()
		spoil(r)
		r.check(2)
		var out bytes.Buffer
		r.print(&out)
		if r.ok() != (name == "") || !strings.Contains(out.String(), name) || r.ok() != strings.Contains(out.String(), "All is well.") {
			t.Errorf("%s: ok is %v\n%s", name, r.ok(), &out)
		}
	}
}

func TestQuantile(t *testing.T) {
	var d []time.Duration
	if quantile(d, 0.5) != 0 {
		t.Error("of nothing")
	}
	for i := 100; i > 0; i-- {
		d = append(d, time.Duration(i))
	}
	if p50, p99 := quantile(d, 0.5), quantile(d, 0.99); p50 != 51 || p99 != 100 || d[0] != 100 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
}

func TestViewDrawsOver(t *testing.T) {
	var out bytes.Buffer
	v := newView(config{Out: &out}, 10)
	if v.live || v.color {
		t.Fatal("a buffer is no terminal")
	}
	v.live = true
	workers := []*member{{orders: orders{Name: "worker-1"}, phase: phaseOffline, unsent: 3}}
	v.show(progress{Done: 5, Claimed: 2}, workers, map[string]int{"worker-1": 5})
	for _, want := range []string{"50%", "5/10 packages", "worker-1", "unsent: 3 packages", strings.Repeat("█", 20) + strings.Repeat("▒", 8) + "░"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	out.Reset()
	v.say("hello")
	if !strings.HasPrefix(out.String(), "\x1b[3A\x1b[J") {
		t.Errorf("the three lines are not erased: %q", out.String())
	}
}
