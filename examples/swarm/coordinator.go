package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/agentdb/agentdb"
)

// swarm is the coordinator: it starts the processes, does them harm, and
// watches. One goroutine runs all of its methods.
type swarm struct {
	cfg    config
	tmp    string
	dirs   []string
	began  time.Time
	events chan message
	addr   string // the server's

	server   *child
	children []*child // all that were ever started
	networks []*proxy // all of them
	planners []*child
	workers  []*member
	db       *agentdb.DB // the copy that the view draws from, pull only
	stats    stats
	view     *view
}

// member is a worker as the coordinator sees it.
type member struct {
	injury

	orders  orders
	child   *child
	net     *proxy
	phase   phase
	doing   string   // the package it indexed last
	claims  int      // claimed so often
	open    int      // tasks claimed and not yet done
	unsent  int      // packages committed in its file and not yet sent
	held    bool     // it waits for the coordinator's go
	content *content // at the end
}

// injury is what was done to a worker, and how it came through.
type injury struct {
	fate     fate
	struck   time.Time // when its fate did
	fell     int       // packages unsent when it was killed, or came back online
	orphaned int       // tasks open when it was killed
	stuck    bool      // offline, with nothing left to do
	healed   bool      // started again, or back online
}

type phase string

const (
	phaseStarting phase = "starting"
	phaseIndexing phase = "indexing"
	phaseOffline  phase = "offline"
	phaseKilled   phase = "killed"
	phaseDone     phase = "done"
)

// stats is what the processes report.
type stats struct {
	syncs     []time.Duration
	claims    []time.Duration
	reruns    int // of claims that the server didn't take
	tasks     int // claimed
	indexed   int
	ids       int
	conflicts int
	sent      int64
	received  int64
	elapsed   time.Duration
}

func newSwarm(cfg config, tmp string, dirs []string) *swarm {
	cfg.Err = &lockedWriter{w: cfg.Err}
	return &swarm{cfg: cfg, tmp: tmp, dirs: dirs, began: time.Now(), events: make(chan message, 256), view: newView(cfg, len(dirs))}
}

// work does the main job: plan, index, sync.
func (s *swarm) work(ctx context.Context) error {
	s.view.say("%d packages below %s; %d planners, %d workers", len(s.dirs), s.cfg.Source, s.cfg.Planners, s.cfg.Workers)
	if err := s.planOffline(ctx); err != nil {
		return err
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.sendPlans(ctx); err != nil {
		return err
	}
	if err := s.openCopy(ctx); err != nil {
		return err
	}
	for i := range s.cfg.Workers {
		if err := s.addWorker(ctx, i); err != nil {
			return err
		}
	}
	return s.watch(ctx)
}

// openCopy opens the coordinator's copy. It receives in the background, as soon
// as there is news.
func (s *swarm) openCopy(ctx context.Context) error {
	net, err := s.newNetwork()
	if err != nil {
		return err
	}
	net.join(s.addr)
	s.db, err = agentdb.Open(ctx, s.file("coordinator"), &agentdb.Options{URL: net.url(), Sync: agentdb.SyncPull, Interval: time.Second})
	return err
}

// planOffline starts the planners, all at once and with no server anywhere,
// and waits until they have made their plans.
func (s *swarm) planOffline(ctx context.Context) error {
	for i := range s.cfg.Planners {
		net, err := s.newNetwork()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("planner-%d", i+1)
		n := len(s.dirs)
		c, err := s.start(ctx, rolePlanner, orders{
			Name: name, File: s.file(name), URL: net.url(),
			Dirs: s.dirs[i*n/s.cfg.Planners : (i+1)*n/s.cfg.Planners],
		})
		if err != nil {
			return err
		}
		s.planners = append(s.planners, c)
	}
	for range s.planners {
		if _, err := s.expect(ctx, evPlanned); err != nil {
			return err
		}
	}
	s.view.say("%d planners made their tables and inserted their tasks, offline and at the same time", s.cfg.Planners)
	return nil
}

func (s *swarm) startServer(ctx context.Context) error {
	c, err := s.start(ctx, roleServer, orders{Name: "server", Dir: filepath.Join(s.tmp, "server")})
	if err != nil {
		return err
	}
	s.server = c
	e, err := s.expect(ctx, evListening)
	if err != nil {
		return err
	}
	s.addr = e.Addr
	for _, net := range s.networks {
		net.join(s.addr)
	}
	return nil
}

// sendPlans lets the planners sync, all at once, and waits for their end.
func (s *swarm) sendPlans(ctx context.Context) error {
	for _, c := range s.planners {
		c.proceed()
	}
	ids := 0
	for range s.planners {
		e, err := s.expect(ctx, evSynced)
		if err != nil {
			return err
		}
		s.stats.add(e.Sync)
		ids += e.Sync.IDs
	}
	for _, c := range s.planners {
		if err := c.stop(patience); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	s.view.say("the server is up and the planners have synced: %d of their tasks had the same id as another's and got a new one", ids)
	return nil
}

// patience is how long a process may take to end.
const patience = 15 * time.Second

// expect waits for the next event, which must be of a kind.
func (s *swarm) expect(ctx context.Context, kind eventKind) (event, error) {
	for {
		select {
		case m := <-s.events:
			switch {
			case m.ended && m.from.err == nil && slices.Contains(s.planners, m.from):
				continue // it has done its part
			case m.ended:
				return event{}, m.from.endedEarly()
			case m.event.Kind != kind:
				return event{}, fmt.Errorf("%s reports %q, not %q", m.from.name, m.event.Kind, kind)
			}
			return m.event, nil
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		}
	}
}

// addWorker starts a worker. The last two lose the network, the one before them is killed.
func (s *swarm) addWorker(ctx context.Context, i int) error {
	net, err := s.newNetwork()
	if err != nil {
		return err
	}
	net.join(s.addr)
	name := fmt.Sprintf("worker-%d", i+1)
	m := &member{net: net, phase: phaseStarting, orders: orders{
		Name: name, File: s.file(name), URL: net.url(), Source: s.cfg.Source, Batch: s.cfg.Batch, Query: s.cfg.Query,
	}}
	switch s.cfg.Workers - i {
	case 1, 2:
		m.fate = fateCut
	case 3:
		m.fate = fateKill
	}
	s.workers = append(s.workers, m)
	m.child, err = s.start(ctx, roleWorker, m.orders)
	return err
}

// watch handles events and draws, until all workers have finished.
func (s *swarm) watch(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	started := time.Now()
	for {
		select {
		case m := <-s.events:
			if err := s.handle(ctx, m); err != nil {
				return err
			}
		case <-tick.C:
			s.heal()
			if err := s.draw(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.New("interrupted")
		}
		if !slices.ContainsFunc(s.workers, func(m *member) bool { return m.phase != phaseDone }) {
			s.stats.elapsed = time.Since(started)
			s.view.finish()
			return s.stopWorkers()
		}
	}
}

func (s *swarm) stopWorkers() error {
	for _, m := range s.workers {
		if err := m.child.stop(patience); err != nil {
			return fmt.Errorf("%s: %w", m.orders.Name, err)
		}
	}
	return nil
}

// start starts a process and remembers it.
func (s *swarm) start(ctx context.Context, role string, o orders) (*child, error) {
	c, err := start(ctx, role, o, s.events, s.cfg.Err)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	s.children = append(s.children, c)
	return c, nil
}

func (s *swarm) file(name string) string { return filepath.Join(s.tmp, name+".db") }

func (s *swarm) newNetwork() (*proxy, error) {
	net, err := newProxy()
	if err != nil {
		return nil, err
	}
	s.networks = append(s.networks, net)
	return net, nil
}

// close ends everything that was started. The context of start has ended.
func (s *swarm) close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	for _, c := range s.children {
		_ = c.stop(0)
	}
	for _, net := range s.networks {
		net.close()
	}
	s.view.finish()
	return err
}

// add counts a sync.
func (st *stats) add(y *synced) {
	st.syncs = append(st.syncs, y.Took)
	st.count(y)
}

func (st *stats) count(y *synced) {
	st.ids += y.IDs
	st.conflicts += y.Conflicts
	st.sent += y.Sent
	st.received += y.Received
}
