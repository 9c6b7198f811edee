package main

import (
	"fmt"
	"io"
	"time"
)

// How often progress is shown, and after how long.
const (
	progressEvery = 100 * time.Millisecond
	progressAfter = 300 * time.Millisecond
)

// progress shows on a terminal how far a transfer is.
type progress struct {
	screen io.Writer // nil: nobody looks
	what   string
	total  int64 // 0: unknown
	done   int64
	begin  time.Time
	shown  time.Time
}

func (c *console) progress(what string, total int64) *progress {
	p := &progress{what: what, total: total, begin: time.Now()}
	if isTerminal(c.err) {
		p.screen = c.err
	}
	return p
}

// add counts what was transferred.
func (p *progress) add(n int) {
	p.done += int64(n)
	now := time.Now()
	if p.screen == nil || now.Sub(p.begin) < progressAfter || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	line := p.what + " " + showSize(p.done)
	if p.total > 0 {
		line += fmt.Sprintf(" of %s, %d%%", showSize(p.total), 100*p.done/p.total)
	}
	rate := float64(p.done) / now.Sub(p.begin).Seconds()
	fmt.Fprintf(p.screen, "\r%s, %s/s\x1b[K", line, showSize(int64(rate)))
}

// end takes the line away.
func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.screen, "\r\x1b[K")
	}
}

// watchedWriter is where a download goes.
type watchedWriter struct {
	io.Writer
	progress *progress
}

// Write implements io.Writer.
func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.progress.add(n)
	return n, err
}
