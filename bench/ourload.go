package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// ourLoad is our server under load: agents that speak its sync protocol without a file of their own, since 64 files would cost
// this machine more than the server does. What they send is what the library sends for the same statements.
type ourLoad struct {
	product *ourProduct
	create  *change.Change // CREATE TABLE notes
	insert  *change.Change // one row of notes
}

func newOurLoad(ctx context.Context, s *settings) (*ourLoad, func(), error) {
	dir, err := os.MkdirTemp(s.tmp, "ours-")
	if err != nil {
		return nil, nil, err
	}
	l := &ourLoad{product: &ourProduct{s: s, database: "*"}}
	if l.create, l.insert, err = templates(filepath.Join(dir, "template.db")); err != nil {
		return nil, nil, fmt.Errorf("capture: %w", err)
	}
	if err := l.product.start(ctx, dir); err != nil {
		return nil, nil, err
	}
	stop := func() {
		_ = l.product.stop() // killed at the latest
		_ = os.RemoveAll(dir)
	}
	return l, stop, nil
}

// templates captures the two statements that the agents send, as the library does.
func templates(path string) (create, insert *change.Change, err error) {
	conn, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	capture, err := change.Attach(conn, change.Options{})
	if err != nil {
		return nil, nil, err
	}
	run := func(sql string) (*change.Change, error) {
		if err := conn.Exec("BEGIN IMMEDIATE"); err != nil {
			return nil, err
		}
		if err := capture.Begin(); err != nil {
			return nil, err
		}
		st, _, err := conn.Prepare(sql)
		if err != nil {
			return nil, err
		}
		defer st.Finalize()
		if err := capture.Before(st); err != nil {
			return nil, err
		}
		_, err = st.Step()
		if err := capture.After(st, err); err != nil {
			return nil, err
		}
		if err := st.Reset(); err != nil {
			return nil, err
		}
		c, err := capture.Finish()
		if err != nil {
			return nil, err
		}
		return c, conn.Exec("COMMIT")
	}
	if create, err = run(notesDDL); err != nil {
		return nil, nil, err
	}
	insert, err = run(`INSERT INTO notes (body) VALUES ('')`)
	return create, insert, err
}

// agents returns n agents that push to databases named prefix-0, prefix-1 and so on. With more databases than agents each
// agent has its own ones; with fewer they share. The databases are made here.
func (l *ourLoad) agents(n, databases int, prefix string) ([]pusher, error) {
	header := "Host: " + l.product.addr() + "\r\nAuthorization: Bearer " + l.product.token + "\r\nContent-Type: " + wire.ContentType + "\r\n"
	agents := make([]pusher, n)
	for i := range n {
		a := &ourPusher{conn: newRaw(l.product.addr()), header: header, text: newTexts(uint64(i)), insert: cloneInsert(l.insert)}
		for d := range databases {
			if d%n == i || databases < n && d == i%databases {
				a.replicas = append(a.replicas, newReplica(prefix+"-"+strconv.Itoa(d), int64(i)*1_000_000))
			}
		}
		agents[i] = a
		if i < databases {
			for _, rep := range a.replicas {
				if err := a.send(rep, l.create); err != nil {
					return agents, fmt.Errorf("create %s: %w", rep.path, err)
				}
			}
		}
	}
	return agents, nil
}

// cloneInsert returns an insert whose row may be changed.
func cloneInsert(c *change.Change) *change.Change {
	c2 := &change.Change{Events: slices.Clone(c.Events)}
	c2.Events[0].New = slices.Clone(c.Events[0].New)
	return c2
}

// replica is what the server knows of one file of an agent.
type replica struct {
	path  string
	id    wire.ReplicaID
	base  wire.Revision
	last  uint64
	chain uint64
	rowid int64
}

func newReplica(database string, firstRow int64) *replica {
	r := &replica{path: "/db/" + database + "/sync", rowid: firstRow}
	_, _ = rand.Read(r.id[:]) // never fails
	return r
}

// ourPusher pushes one row at a time to its databases in turn.
type ourPusher struct {
	conn     *rawConn
	header   string
	text     *texts
	insert   *change.Change
	replicas []*replica
	next     int
	buf      []byte
	scratch  []byte
}

func (p *ourPusher) push() error {
	rep := p.replicas[p.next%len(p.replicas)]
	p.next++
	rep.rowid++
	e := &p.insert.Events[0]
	e.RowID, e.New[0] = rep.rowid, sqlite.Text(p.text.get())
	return p.send(rep, p.insert)
}

// send pushes one change and checks that the server took it as it is.
func (p *ourPusher) send(rep *replica, c *change.Change) error {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	ch := wire.Change{Nonce: binary.LittleEndian.Uint64(nonce[:]), Body: c.Append(nil, change.ViewIntents)}
	ch.Effects, p.scratch = c.EffectsHash(p.scratch)
	req := wire.Request{Replica: rep.id, Base: rep.base, First: rep.last + 1, Chain: rep.chain, Changes: []wire.Change{ch}}
	p.buf = req.Append(p.buf[:0])
	body, err := p.conn.post(rep.path, p.header, p.buf)
	if err != nil {
		return err
	}
	msg, err := wire.ReadFrame(bytes.NewReader(body), nil, 1<<20)
	if err != nil {
		return err
	}
	resp, err := wire.DecodeResponse(msg, 1<<20)
	if err != nil {
		return err
	}
	if resp.Status != wire.StatusOK || resp.Last != req.First || len(resp.Results) > 0 {
		return fmt.Errorf("%s: status %d, last %d of %d, results %v", rep.path, resp.Status, resp.Last, req.First, resp.Results)
	}
	rep.base, rep.last, rep.chain = resp.Head, resp.Last, wire.ChainNext(rep.chain, ch.Nonce)
	return nil
}

func (p *ourPusher) close() error { return p.conn.close() }
