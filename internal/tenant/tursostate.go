package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/agentdb/agentdb/internal/history"
)

// tursoState is what is kept of a Turso client between its pushes, in the
// history's metadata under "t/" and its name: what the ids in its next pushes
// mean, until it pulls again and has the same as the server.
type tursoState struct {
	Gen   uint64 // what follows is of pushes with this count
	Base  uint64 // the revision that these were made on, or one before
	Based bool   // that is known
	// Others are later revisions that it may have been instead.
	Others []uint64 `json:",omitempty"`
	Boot   uint64   // the server's run that took the last of them
	// IDs are the rows that the client inserted and that got another id, by
	// table and the client's id. A row that was refused has a placeholder.
	IDs map[string]map[int64]int64 `json:",omitempty"`
	// Own are the ids of rows that it inserted, as it knows them.
	Own map[string][]idSpan `json:",omitempty"`
	// Rows are the rows without a key that it inserted.
	Rows map[string]*localRows `json:",omitempty"`
	Full bool                  `json:",omitempty"` // there would be more
}

// idSpan is a range of ids.
type idSpan [2]int64

// localRows are the rows without a key that a client has put into a table since
// its base: the rowids that they have there, and on the server.
type localRows struct {
	Top  int64 // the highest rowid of the base that is left
	Rows []localRow
	Dead map[int64]bool `json:",omitempty"` // rows of the base that it deleted
	// Vague says that Top may be another one, so that only rows up to it, which
	// the base has, are known by their rowid.
	Vague bool `json:",omitempty"`
}

type localRow [2]int64 // there, here

// maxTursoState bounds the entries of a tursoState. Beyond it, a client that
// updates rows before it has pulled them may be misunderstood.
const maxTursoState = 50_000

func tursoKey(client string) string { return "t/" + client }

// next returns a copy for a push with that count: an empty one, if the client
// has pulled since.
func (s *tursoState) next(gen uint64) *tursoState {
	if s != nil && s.Gen != gen {
		s = nil
	}
	return s.copy(gen)
}

// copy returns a copy for a push with that count.
func (s *tursoState) copy(gen uint64) *tursoState {
	n := &tursoState{Gen: gen, IDs: map[string]map[int64]int64{}, Own: map[string][]idSpan{}, Rows: map[string]*localRows{}}
	if s == nil {
		return n
	}
	n.Full = s.Full
	for t, m := range s.IDs {
		n.IDs[t] = maps.Clone(m)
	}
	for t, l := range s.Own {
		n.Own[t] = slices.Clone(l)
	}
	for t, l := range s.Rows {
		n.Rows[t] = &localRows{Top: l.Top, Rows: slices.Clone(l.Rows), Dead: maps.Clone(l.Dead), Vague: l.Vague}
	}
	return n
}

// size counts the entries.
func (s *tursoState) size() (n int) {
	for _, m := range s.IDs {
		n += len(m)
	}
	for _, l := range s.Own {
		n += len(l)
	}
	for _, l := range s.Rows {
		n += len(l.Rows) + len(l.Dead)
	}
	return n
}

// moved notes that a row which the client inserted as id is to is here.
func (s *tursoState) moved(table string, id, to int64) {
	if s.Full {
		return
	}
	if s.IDs[table] == nil {
		s.IDs[table] = map[int64]int64{}
	}
	s.IDs[table][id] = to
}

// own notes that the client has inserted a row with that id.
func (s *tursoState) own(table string, id int64) {
	l := s.Own[table]
	if n := len(l); n > 0 && l[n-1][1]+1 == id {
		l[n-1][1] = id
		return
	}
	if !s.Full && !s.owns(table, id) {
		s.Own[table] = append(l, idSpan{id, id})
	}
}

// forget notes that the client has deleted a row: it may use the id again.
func (s *tursoState) forget(table string, id int64) {
	if s == nil {
		return
	}
	delete(s.IDs[table], id)
	var left []idSpan
	for _, p := range s.Own[table] {
		if id < p[0] || id > p[1] {
			left = append(left, p)
			continue
		}
		if p[0] < id {
			left = append(left, idSpan{p[0], id - 1})
		}
		if id < p[1] {
			left = append(left, idSpan{id + 1, p[1]})
		}
	}
	if s.Own[table] != nil {
		s.Own[table] = left
	}
}

func (s *tursoState) owns(table string, id int64) bool {
	for _, p := range s.Own[table] {
		if p[0] <= id && id <= p[1] {
			return true
		}
	}
	return false
}

// put reports whether the row with that id is one that the client put there,
// under this id, with the pushes that s is about. A row of its own that got this
// id from the server doesn't count: the client may have given the id to another
// row before it knew.
func (s *tursoState) put(table string, id int64) bool {
	if s == nil {
		return false
	}
	_, moved := s.IDs[table][id]
	return !moved && s.owns(table, id)
}

// add notes that the client has inserted a row without a key: it is the next
// in the order of its file.
func (l *localRows) add(here int64) {
	local := l.Top + 1
	if n := len(l.Rows); n > 0 {
		local = l.Rows[n-1][0] + 1
	}
	l.Rows = append(l.Rows, localRow{local, here})
}

// dies notes that the client has deleted a row of the base: SQLite gives out the
// rowids above the highest one that is left.
func (l *localRows) dies(local int64, table string, base *past) error {
	if l.Dead == nil {
		l.Dead = map[int64]bool{}
	}
	l.Dead[local] = true
	for l.Top > 0 && base != nil {
		there, err := base.has(table, l.Top)
		if err != nil || there && !l.Dead[l.Top] {
			return err
		}
		delete(l.Dead, l.Top)
		l.Top--
	}
	return nil
}

// find returns the index of a row that the client has inserted, -1 if it is
// none of them.
func (l *localRows) find(local int64) int {
	i, ok := slices.BinarySearchFunc(l.Rows, local, func(r localRow, id int64) int { return cmp.Compare(r[0], id) })
	if !ok {
		return -1
	}
	return i
}

func (s *tursoState) encode() []byte {
	s.Full = s.Full || s.size() > maxTursoState
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and names always encode
	}
	return b
}

// tursoStates are the states of the clients that pushed last.
type tursoStates struct{ byClient map[string]*tursoState }

// maxTursoStates bounds tursoStates.
const maxTursoStates = 256

func (c *tursoStates) put(client string, s *tursoState) {
	if c.byClient == nil || len(c.byClient) >= maxTursoStates {
		c.byClient = map[string]*tursoState{}
	}
	c.byClient[client] = s
}

// tursoState returns what is kept of a client, nil if it never pushed. The gate
// is held.
func (d *database) tursoState(ctx context.Context, client string) (*tursoState, error) {
	if s := d.turso.byClient[client]; s != nil {
		return s, nil
	}
	v, err := d.m.cfg.Store.GetMeta(ctx, d.id(), tursoKey(client))
	if errors.Is(err, history.ErrNoMeta) {
		return nil, nil
	}
	if err != nil {
		return nil, translate(err)
	}
	s := &tursoState{}
	if err := json.Unmarshal(v, s); err != nil {
		return nil, fmt.Errorf("tenant: state of %s: %w", client, err)
	}
	return s, nil
}
