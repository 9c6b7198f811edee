package main

import (
	"context"
	"time"
)

// fate is what the coordinator does to a worker.
type fate int

const (
	fateNone fate = iota
	fateKill      // SIGKILL right after a commit that wasn't sent, then started again on the same file
	fateCut       // no network until the worker has nothing left to do without it
)

// When a fate strikes, as parts of all packages, and how long a cut lasts at least.
const (
	cutAfter  = 0.2
	killAfter = 0.45
	cutTime   = time.Second
)

// handle takes note of what a worker says.
func (s *swarm) handle(ctx context.Context, msg message) error {
	m := s.memberOf(msg.from)
	if m == nil && msg.from == s.server {
		return msg.from.endedEarly()
	}
	if m == nil {
		return nil // a planner, whose end has been waited for
	}
	if msg.ended {
		return s.ended(ctx, m)
	}
	e := msg.event
	if s.cfg.Verbose {
		s.view.say("%s: %s", m.orders.Name, e)
	}
	switch e.Kind {
	case evReady:
		m.held = true
		s.releaseAll(func(m *member) bool { return m.held || m.claims > 0 })
	case evClaimed:
		s.stats.claimed(e)
		m.claims++
		m.open += e.N
		m.held = true
		s.releaseAll(func(m *member) bool { return m.claims > 0 })
	case evIndexed:
		s.stats.indexed++
		m.open--
		m.doing, m.unsent = e.Dir, e.N
		if m.phase == phaseStarting {
			m.phase = phaseIndexing
		}
		if m.fate == fateKill && m.struck.IsZero() && s.ripe(killAfter) {
			s.kill(m)
		}
	case evSynced:
		s.stats.add(e.Sync)
	case evOffline, evStuck:
		m.phase, m.unsent, m.stuck = phaseOffline, e.N, e.Kind == evStuck
	case evOnline:
		m.phase, m.healed, m.fell = phaseIndexing, true, e.N
		s.view.say("%s is back online and sends what it has indexed meanwhile: %s", m.orders.Name, count(e.N, "package"))
	case evFinished:
		m.phase, m.content = phaseDone, e.Found
	}
	return nil
}

func (s *swarm) memberOf(c *child) *member {
	for _, m := range s.workers {
		if m.child == c {
			return m
		}
	}
	return nil
}

// releaseAll lets the workers that wait go on, once all are ready.
// Nobody begins before everybody can, so that everybody gets a share.
func (s *swarm) releaseAll(ready func(*member) bool) {
	for _, m := range s.workers {
		if !ready(m) {
			return
		}
	}
	for _, m := range s.workers {
		if !m.held {
			continue
		}
		if m.fate == fateCut && m.claims > 0 && m.struck.IsZero() && s.ripe(cutAfter) {
			s.cut(m)
		}
		m.held = false
		m.child.proceed()
	}
}

// ripe tells whether so much is done that a fate may strike, or so little left
// to claim that it must.
func (s *swarm) ripe(part float64) bool {
	n := len(s.dirs)
	left := n - s.stats.tasks
	return float64(s.stats.indexed) >= part*float64(n) || left < 2*s.cfg.Workers*s.cfg.Batch
}

// cut takes the network from a worker that has just claimed tasks.
func (s *swarm) cut(m *member) {
	m.struck = time.Now()
	m.net.cut()
	s.view.say("%s loses the network", m.orders.Name)
}

// kill kills a worker that has a commit in its file that nobody else has seen.
func (s *swarm) kill(m *member) {
	m.struck = time.Now()
	m.phase, m.fell, m.orphaned = phaseKilled, m.unsent, m.open
	_ = m.child.cmd.Process.Kill() // its end is reported
	s.view.say("%s is killed with SIGKILL, right after it has committed %s", m.orders.Name, m.doing)
}

// heal gives the network back to workers that can do nothing more without it.
func (s *swarm) heal() {
	for _, m := range s.workers {
		if m.fate == fateCut && m.stuck && time.Since(m.struck) >= cutTime {
			m.stuck = false
			m.net.join(s.addr)
		}
	}
}

// ended is called at the end of a worker's process.
func (s *swarm) ended(ctx context.Context, m *member) error {
	switch {
	case m.phase == phaseDone && m.child.err == nil:
		return nil
	case m.phase != phaseKilled:
		return m.child.endedEarly()
	}
	c, err := s.start(ctx, roleWorker, m.orders)
	if err != nil {
		return err
	}
	m.child, m.phase, m.healed = c, phaseStarting, true
	s.view.say("%s is started again on the same file", m.orders.Name)
	return nil
}

// claimed counts a claim.
func (st *stats) claimed(e event) {
	st.tasks += e.N
	st.reruns += e.Runs - 1
	st.claims = append(st.claims, e.Sync.Took)
	st.count(e.Sync)
}
