package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agentdb/agentdb"
)

// report is the swarm's result, checked.
type report struct {
	cfg      config
	stats    stats
	alone    time.Duration // the single process
	commits  uint64
	bytes    int64 // on the sockets, both ways
	diffs    []difference
	copies   []file // the fresh one first
	alike    file   // the single process's
	workers  []*member
	problems []string
}

// file is a copy of the database, and what it holds.
type file struct {
	name    string
	content *content
}

// verify reads the server's database through a fresh copy, does the work again
// in a single process, and compares.
func (s *swarm) verify(ctx context.Context) (r *report, err error) {
	s.view.say("all packages are indexed; a fresh copy is taken from the server, and a single process does the same work")
	r = &report{cfg: s.cfg, stats: s.stats, workers: s.workers}
	for _, net := range s.networks {
		r.bytes += net.bytes.Load()
	}
	fresh, err := s.openFresh(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	if _, err := s.db.Pull(ctx); err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	if err := r.read(ctx, "coordinator", s.db); err != nil {
		return nil, err
	}
	for _, m := range s.workers {
		r.copies = append(r.copies, file{m.orders.Name, m.content})
	}
	if err := s.compareAlone(ctx, r, fresh); err != nil {
		return nil, err
	}
	if err := s.server.stop(patience); err != nil {
		r.problem("the server did not stop in order: %v", err)
	}
	r.check(len(s.dirs))
	return r, nil
}

// openFresh takes a new copy from the server: what it holds is what the server holds.
func (s *swarm) openFresh(ctx context.Context, r *report) (*agentdb.DB, error) {
	net, err := s.newNetwork()
	if err != nil {
		return nil, err
	}
	net.join(s.addr)
	db, err := agentdb.Open(ctx, s.file("fresh"), &agentdb.Options{URL: net.url()})
	if err != nil {
		return nil, err
	}
	rep, err := db.Sync(ctx)
	if err == nil {
		r.commits = rep.Revision
		err = r.read(ctx, "server", db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fresh copy: %w", err), db.Close())
	}
	return db, nil
}

// compareAlone does all the work in this process, on an ordinary file.
func (s *swarm) compareAlone(ctx context.Context, r *report, swarm *agentdb.DB) (err error) {
	db, err := agentdb.Open(ctx, filepath.Join(s.tmp, "alone.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	began := time.Now()
	if err := indexAlone(ctx, db, s.cfg.Source, s.dirs); err != nil {
		return fmt.Errorf("single process: %w", err)
	}
	r.alone = time.Since(began)
	c, err := readContent(ctx, db, s.cfg.Query)
	if err != nil {
		return err
	}
	r.alike = file{"single process", c}
	r.diffs, err = compare(ctx, swarm, db)
	return err
}

func (r *report) read(ctx context.Context, name string, db *agentdb.DB) error {
	c, err := readContent(ctx, db, r.cfg.Query)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.copies = append(r.copies, file{name, c})
	return nil
}

// check finds everything that is off.
func (r *report) check(packages int) {
	for _, d := range r.diffs {
		if d.Lost > 0 || d.Extra > 0 {
			r.problem("%s: %d rows lost, %d too many", d.Table, d.Lost, d.Extra)
		}
		if d.Table == "packages" && d.Got != packages {
			r.problem("%d packages, want %d", d.Got, packages)
		}
	}
	truth := r.copies[0]
	for _, f := range append(slices.Clone(r.copies), r.alike) {
		if f.content.Integrity != "ok" {
			r.problem("%s: integrity check: %s", f.name, f.content.Integrity)
		}
		if f.content.Hits != truth.content.Hits || !slices.Equal(f.content.Answer, truth.content.Answer) {
			r.problem("%s answers the query otherwise: %d, %q", f.name, f.content.Hits, f.content.Answer)
		}
		if f != r.alike && f.content.Hash != truth.content.Hash {
			r.problem("%s holds other content than the server: %.16s, not %.16s", f.name, f.content.Hash, truth.content.Hash)
		}
	}
	for _, m := range r.workers {
		if m.fate != fateNone && (m.struck.IsZero() || !m.healed) {
			r.problem("%s did not meet its fate", m.orders.Name)
		}
	}
	if n := truth.content.Conflicts; n > 0 || r.stats.conflicts > 0 {
		r.problem("%d conflicts are recorded, and no two workers have written the same row", n)
	}
}

func (r *report) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *report) ok() bool { return len(r.problems) == 0 }

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-16s %12s %16s\n", "", "swarm", "single process")
	lost := 0
	for _, d := range r.diffs {
		fmt.Fprintf(w, "%-16s %12d %16d   %s\n", d.Table, d.Got, d.Want, mark(d.Lost+d.Extra == 0))
		lost += d.Lost
	}
	fmt.Fprintf(w, "%-16s %12s %16s\n", "time", seconds(r.stats.elapsed), seconds(r.alone))

	fmt.Fprintln(w)
	truth := r.copies[0].content
	for _, f := range r.copies {
		fmt.Fprintf(w, "%-16s content %.16s   %s\n", f.name, f.content.Hash, mark(f.content.Hash == truth.Hash))
	}
	same := true
	for _, f := range append(slices.Clone(r.copies), r.alike) {
		same = same && f.content.Hits == truth.Hits && slices.Equal(f.content.Answer, truth.Answer)
	}
	fmt.Fprintf(w, "\nfull text: %q has %d hits, first %s   %s\n", r.cfg.Query, truth.Hits, strings.Join(truth.Answer[:min(3, len(truth.Answer))], ", "), mark(same))

	fmt.Fprintln(w)
	for _, m := range r.workers {
		if m.fate != fateNone {
			fmt.Fprintf(w, "%-16s %s   %s\n", m.orders.Name, m.story(), mark(m.healed))
		}
	}
	st := r.stats
	fmt.Fprintf(w, "\n%-16s %d on the server\n", "commits", r.commits)
	fmt.Fprintf(w, "%-16s %s in bodies sent, %s received; %s on the sockets\n", "bytes", size(st.sent), size(st.received), size(r.bytes))
	fmt.Fprintf(w, "%-16s %d, p50 %s, p99 %s\n", "syncs", len(st.syncs), ms(quantile(st.syncs, 0.5)), ms(quantile(st.syncs, 0.99)))
	fmt.Fprintf(w, "%-16s %d, p50 %s, p99 %s; %d run again because another worker was first\n", "claims", len(st.claims), ms(quantile(st.claims, 0.5)), ms(quantile(st.claims, 0.99)), st.reruns)
	fmt.Fprintf(w, "%-16s %d rows got another id than the one they were inserted with\n", "ids", st.ids)
	fmt.Fprintf(w, "%-16s %d\n", "conflicts", truth.Conflicts)
	fmt.Fprintf(w, "%-16s %d   %s\n", "rows lost", lost, mark(lost == 0))
	for _, p := range r.problems {
		fmt.Fprintf(w, "✗ %s\n", p)
	}
	if r.ok() {
		fmt.Fprintln(w, "\nAll is well.")
	}
}

// story tells what happened to a worker.
func (m *member) story() string {
	switch {
	case m.fate == fateKill && m.healed:
		return fmt.Sprintf("was killed with %s unsent and %s open, and has finished them after its restart", count(m.fell, "package"), count(m.orphaned, "task"))
	case m.fate == fateCut && m.healed:
		return fmt.Sprintf("lost the network, and indexed %s without it", count(m.fell, "package"))
	}
	return "did not meet its fate"
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func mark(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

// quantile is the nearest-rank quantile.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

func ms(d time.Duration) string      { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func size(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
