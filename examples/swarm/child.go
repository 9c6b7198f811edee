package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// roleVar is the environment variable that makes the program play one of the
// swarm's other processes.
const roleVar = "AGENTDB_SWARM_ROLE"

// The roles.
const (
	roleServer  = "server"
	rolePlanner = "planner"
	roleWorker  = "worker"
)

// orders is what a process is told at its start: the first line of its input.
type orders struct {
	Name   string
	Dir    string   // server: its data directory
	File   string   // the process's own database file
	URL    string   // of the database, through the process's own network
	Source string   // the source tree
	Dirs   []string // planner: the packages to plan
	Batch  int      // worker: how many tasks to claim at once
	Query  string   // worker: to ask the index at the end
}

// An event is what a process tells the coordinator: a line of its output.
type event struct {
	Kind  eventKind
	Addr  string   `json:",omitempty"` // listening
	Dir   string   `json:",omitempty"` // indexed
	N     int      `json:",omitempty"` // planned, claimed: tasks; others: packages indexed and not yet sent
	Runs  int      `json:",omitempty"` // claimed: how often the transaction ran until the server took it
	Sync  *synced  `json:",omitempty"` // synced, claimed
	Found *content `json:",omitempty"` // finished: what the file holds
}

func (e event) String() string {
	s := string(e.Kind)
	if e.Dir != "" {
		s += " " + e.Dir
	}
	if e.N > 0 {
		s += fmt.Sprintf(" (%d)", e.N)
	}
	if y := e.Sync; y != nil {
		s += fmt.Sprintf(" in %s, %d pushed, %d bytes sent, %d received, %d new ids", ms(y.Took), y.Pushed, y.Sent, y.Received, y.IDs)
	}
	return s
}

type eventKind string

const (
	evListening eventKind = "listening" // the server is up
	evPlanned   eventKind = "planned"   // a planner has inserted its tasks, offline
	evReady     eventKind = "ready"     // a worker has its first copy of the database
	evClaimed   eventKind = "claimed"   // a worker has tasks; it waits for a go
	evIndexed   eventKind = "indexed"   // a package is committed in the worker's file
	evSynced    eventKind = "synced"    // a sync succeeded
	evOffline   eventKind = "offline"   // the network is gone
	evStuck     eventKind = "stuck"     // offline, and nothing claimed is left to do
	evOnline    eventKind = "online"    // the network is back
	evFinished  eventKind = "finished"  // all is done and synced
)

// synced is what one sync did.
type synced struct {
	Took      time.Duration
	Pushed    int
	Conflicts int
	IDs       int // rows that got another id
	Sent      int64
	Received  int64
}

// link is a child's end of the pipe to the coordinator.
type link struct {
	mu   sync.Mutex
	out  *json.Encoder // guarded by mu
	goes chan struct{} // one per "go"
}

// runRole plays a role, and returns when it is done or the coordinator is gone.
func runRole(role string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: read orders: %w", role, err)
	}
	var o orders
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("%s: read orders: %w", role, err)
	}
	l := &link{out: json.NewEncoder(os.Stdout), goes: make(chan struct{}, 16)}
	go func() { // ends with the process: a read of stdin can't be interrupted
		for {
			if _, err := in.ReadBytes('\n'); err != nil {
				cancel()
				return
			}
			l.goes <- struct{}{}
		}
	}()
	switch role {
	case roleServer:
		err = serve(ctx, o, l)
	case rolePlanner:
		err = plan(ctx, o, l)
	case roleWorker:
		err = work(ctx, o, l)
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name, err)
	}
	return nil
}

// tell reports an event.
func (l *link) tell(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.out.Encode(e) // a coordinator that is gone ends the context as well
}

// wait waits for the coordinator's go.
func (l *link) wait(ctx context.Context) error {
	select {
	case <-l.goes:
		return nil
	case <-ctx.Done():
		return errors.New("the coordinator is gone")
	}
}

// child is the coordinator's end: a process of the swarm.
type child struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	gone chan struct{} // closed when the process has ended and its output was read
	err  error         // of the process; read after its end was reported or gone is closed
}

// lockedWriter is shared by processes.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// message is an event, or the end of a process.
type message struct {
	from  *child
	event event
	ended bool
}

// start runs this program again in another role. What it says arrives on to.
func start(ctx context.Context, role string, o orders, to chan<- message, stderr io.Writer) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = stderr
	cmd.WaitDelay = 5 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{name: o.Name, cmd: cmd, in: in, gone: make(chan struct{})}
	go c.read(ctx, out, to)
	line, err := json.Marshal(o)
	if err == nil {
		_, err = in.Write(append(line, '\n'))
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// read passes on the process's events and waits for its end.
func (c *child) read(ctx context.Context, out io.Reader, to chan<- message) {
	defer close(c.gone)
	send := func(m message) {
		select {
		case to <- m:
		case <-ctx.Done():
		}
	}
	dec := json.NewDecoder(out)
	var err error
	for err == nil {
		var e event
		if err = dec.Decode(&e); err == nil {
			send(message{from: c, event: e})
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
		err = nil // killed in the middle of a line, perhaps
	}
	if c.err = c.cmd.Wait(); c.err == nil {
		c.err = err
	}
	send(message{from: c, ended: true})
}

// endedEarly is the error of a process that has ended and should not have.
func (c *child) endedEarly() error {
	if c.err == nil {
		return fmt.Errorf("%s ended early", c.name)
	}
	return fmt.Errorf("%s ended early: %w", c.name, c.err)
}

// proceed lets a process that waits go on.
func (c *child) proceed() {
	_, _ = io.WriteString(c.in, "go\n") // if the process has ended, its end is reported
}

// kill ends the process with SIGKILL, and waits until it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.gone
}

// stop ends the process by closing its input, and waits for it.
func (c *child) stop(patience time.Duration) error {
	_ = c.in.Close()
	select {
	case <-c.gone:
	case <-time.After(patience):
		c.kill()
	}
	return c.err
}
