package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/agentdb/agentdb"
)

// view shows progress: a few lines that are drawn again and again on a
// terminal, a line now and then elsewhere.
type view struct {
	out   io.Writer
	live  bool
	color bool
	began time.Time
	total int
	lines int       // drawn, and to be drawn over
	next  time.Time // when a line is due, if not live
}

// progress is what the coordinator's copy says about the work.
type progress struct {
	Done    int
	Claimed int
	Symbols int
	Refs    int
	Docs    int
}

func newView(cfg config, total int) *view {
	v := &view{out: cfg.Out, began: time.Now(), total: total}
	if f, ok := cfg.Out.(*os.File); ok && !cfg.Plain {
		v.live = term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	}
	v.color = v.live && os.Getenv("NO_COLOR") == ""
	return v
}

// draw shows where the work stands, as far as the coordinator's copy knows.
func (s *swarm) draw(ctx context.Context) error {
	if !s.view.due() {
		return nil
	}
	var p progress
	by := map[string]int{}
	err := s.db.View(ctx, func(tx *agentdb.Tx) error {
		there, err := agentdb.Get[bool](ctx, tx, "SELECT count(*) = 6 FROM sqlite_schema WHERE name IN ('tasks', 'packages', 'symbols', 'refs', 'docs', 'doc_index')")
		if err != nil || !there {
			return err // nothing has arrived yet
		}
		p, err = agentdb.Get[progress](ctx, tx, `SELECT
			(SELECT count(*) FROM tasks WHERE state = 'done') AS done,
			(SELECT count(*) FROM tasks WHERE state = 'claimed') AS claimed,
			(SELECT count(*) FROM symbols) AS symbols,
			(SELECT count(*) FROM refs) AS refs,
			(SELECT count(*) FROM docs) AS docs`)
		if err != nil {
			return err
		}
		type share struct {
			Worker string
			N      int
		}
		for sh, err := range agentdb.Iter[share](ctx, tx, "SELECT worker, count(*) AS n FROM tasks WHERE state = 'done' GROUP BY worker") {
			if err != nil {
				return err
			}
			by[sh.Worker] = sh.N
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the coordinator's copy: %w", err)
	}
	s.view.show(p, s.workers, by)
	return nil
}

// due tells whether it is time to draw.
func (v *view) due() bool {
	if v.live {
		return true
	}
	now := time.Now()
	if now.Before(v.next) {
		return false
	}
	v.next = now.Add(time.Second)
	return true
}

func (v *view) show(p progress, workers []*member, by map[string]int) {
	sum := fmt.Sprintf("%d/%d packages, %d symbols, %d references, %d doc comments", p.Done, v.total, p.Symbols, p.Refs, p.Docs)
	if !v.live {
		v.say("%s", sum)
		return
	}
	const width = 40
	full := width * p.Done / max(v.total, 1)
	part := min(width-full, width*p.Claimed/max(v.total, 1))
	lines := []string{
		v.paint("1", v.clock()) + "  " + v.paint("32", strings.Repeat("█", full)) + v.paint("33", strings.Repeat("▒", part)) + strings.Repeat("░", width-full-part) + fmt.Sprintf(" %3d%%", 100*p.Done/max(v.total, 1)),
		"        " + sum,
	}
	for _, m := range workers {
		lines = append(lines, fmt.Sprintf("        %-10s %s %4d done  %s", m.orders.Name, v.phase(m), by[m.orders.Name], v.detail(m)))
	}
	v.erase()
	fmt.Fprintln(v.out, strings.Join(lines, "\n"))
	v.lines = len(lines)
}

func (v *view) phase(m *member) string {
	colors := map[phase]string{phaseOffline: "33", phaseKilled: "31", phaseDone: "32"}
	return v.paint(colors[m.phase], fmt.Sprintf("%-9s", m.phase))
}

func (v *view) detail(m *member) string {
	switch m.phase {
	case phaseOffline:
		return fmt.Sprintf("unsent: %s", count(m.unsent, "package"))
	case phaseIndexing:
		return m.doing
	}
	return ""
}

// say prints a line that stays.
func (v *view) say(format string, args ...any) {
	v.erase()
	fmt.Fprintf(v.out, "%s  %s\n", v.clock(), fmt.Sprintf(format, args...))
}

// finish leaves what is drawn where it is.
func (v *view) finish() { v.lines = 0 }

func (v *view) clock() string { return fmt.Sprintf("%5.1fs", time.Since(v.began).Seconds()) }

// erase goes back over what was drawn.
func (v *view) erase() {
	if v.lines > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.lines)
		v.lines = 0
	}
}

func (v *view) paint(code, text string) string {
	if !v.color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
