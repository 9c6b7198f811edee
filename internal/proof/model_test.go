package proof

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/agentdb/agentdb"
)

// A row's identity is what it keeps whatever number it gets: its key where
// that is given by the user, else its token.
type identity string

// seenRow is a row as a transaction sees it.
type seenRow struct {
	table *table
	tok   string
	ptok  string
	id    identity
	key   string
	a, b  string
}

// snapshot is all rows of all random tables, by table and token.
type snapshot map[string]seenRow

func text(v any) string { return fmt.Sprintf("%T %v", v, v) }

// look reads the rows that q sees.
func (s *schema) look(ctx context.Context, q agentdb.Querier) (snapshot, error) {
	snap := snapshot{}
	for _, t := range s.tables {
		ptok := "NULL"
		if t.parent != nil {
			ptok = "ptok"
		}
		cols := append([]string{"tok", "a", "b", ptok}, t.key()...)
		rows, err := agentdb.All[[]any](ctx, q, "SELECT "+strings.Join(cols, ", ")+" FROM "+t.name)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			tok, _ := r[0].(string)
			id := tok
			if t.natural {
				id = fmt.Sprint(r[4:])
				for _, k := range r[4:] {
					if k == nil {
						id = tok
					}
				}
			}
			p, _ := r[3].(string)
			if t.kind == keyOne {
				id = p // its number is its parent's, and changes with that
			}
			snap[t.name+"/"+tok] = seenRow{t, tok, p, identity(t.name + "/" + id), fmt.Sprint(r[4:]), text(r[1]), text(r[2])}
		}
	}
	if s.fts != "" {
		rows, err := agentdb.All[string](ctx, q, "SELECT tok FROM "+s.fts)
		if err != nil {
			return nil, err
		}
		for _, tok := range rows {
			snap[s.fts+"/"+tok] = seenRow{tok: tok}
		}
	}
	return snap, nil
}

// set is a value given to a column that the model follows.
type set struct {
	id    identity
	a, b  *string // nil: left as it was
	born  bool
	loose bool // a table whose constraints may refuse the row
}

// record is what one transaction did.
type record struct {
	sql     []string
	born    []seenRow
	gone    []seenRow
	sets    []set
	hung    []seenRow  // rows that got another parent
	blurred []identity // what the model can't follow from now on
}

// observe adds the difference between two snapshots, which one statement made.
// blur says that it was none that the model understands.
func (r *record) observe(before, after snapshot, blur bool) {
	for k, now := range after {
		was, ok := before[k]
		if now.table == nil {
			if !ok {
				r.born = append(r.born, now)
			}
			continue
		}
		if ok && was.ptok != now.ptok {
			r.hung = append(r.hung, now)
		}
		switch {
		case !ok:
			r.born = append(r.born, now)
			t := now.table
			r.sets = append(r.sets, set{id: now.id, a: &now.a, b: &now.b, born: true, loose: t.unique || t.check || t.policy != "" || t.parent != nil})
		case was.id != now.id:
			r.blurred = append(r.blurred, was.id, now.id)
		default:
			s := set{id: now.id}
			if was.a != now.a {
				s.a = &now.a
			}
			if was.b != now.b {
				s.b = &now.b
			}
			if s.a != nil || s.b != nil {
				r.sets = append(r.sets, s)
			}
		}
		if ok && was.key != now.key { // an update elsewhere may miss it
			r.blurred = append(r.blurred, now.id)
		}
		if blur && (!ok || was != now) {
			r.blurred = append(r.blurred, now.id)
		}
	}
	for k, was := range before {
		if _, ok := after[k]; !ok {
			r.gone = append(r.gone, was)
			if blur && was.table != nil {
				r.blurred = append(r.blurred, was.id)
			}
		}
	}
}

// mark is where a record stands, to go back to when a savepoint is undone.
func (r *record) mark() record { return *r }

// model is what must be true of all replicas in the end.
type model struct {
	mu       sync.Mutex
	born     map[string]seenRow  // every token that a committed transaction inserted
	parents  map[string][]string // tokens of all the parents that a row ever had
	gone     map[string]bool     // tokens that one deleted
	goneIDs  map[identity]bool   // the same by identity
	births   map[identity]int    // by how many transactions the identity was made
	last     map[identity]*[2]string
	blurred  map[identity]bool
	made     map[string]string // tokens inserted into tables that come and go: which table
	thinned  map[*table]bool   // tables that rows were deleted from
	dropped  map[string]bool   // such tables that somebody dropped or renamed
	pushed   int
	conflict int
}

func newModel() *model {
	return &model{
		born: map[string]seenRow{}, parents: map[string][]string{}, gone: map[string]bool{}, goneIDs: map[identity]bool{}, births: map[identity]int{},
		last: map[identity]*[2]string{}, blurred: map[identity]bool{}, made: map[string]string{}, thinned: map[*table]bool{}, dropped: map[string]bool{},
	}
}

// commit takes in what a committed transaction made and deleted. What it set
// counts only when it is pushed.
func (m *model) commit(r *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range r.born {
		m.born[row.tok] = row
		m.parents[row.tok] = append(m.parents[row.tok], row.ptok)
	}
	for _, row := range r.hung {
		m.parents[row.tok] = append(m.parents[row.tok], row.ptok)
	}
	for _, row := range r.gone {
		m.gone[row.tok] = true
		m.goneIDs[row.id] = true
		m.thinned[row.table] = true
	}
	for _, id := range r.blurred {
		m.blurred[id] = true
	}
	for _, s := range r.sets {
		if s.born {
			m.births[s.id]++
			if m.births[s.id] > 1 && s.loose {
				m.blurred[s.id] = true
			}
		}
	}
}

// doubt takes in a transaction that may have happened or not.
func (m *model) doubt(r *record) {
	if r == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range r.gone {
		m.gone[row.tok] = true
		m.goneIDs[row.id] = true
		m.thinned[row.table] = true
	}
	for _, row := range r.hung {
		m.parents[row.tok] = append(m.parents[row.tok], row.ptok)
	}
	for _, s := range r.sets {
		m.blurred[s.id] = true
	}
	for _, id := range r.blurred {
		m.blurred[id] = true
	}
}

// push takes in that the server has a transaction now.
func (m *model) push(r *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pushed++
	for _, s := range r.sets {
		v := m.last[s.id]
		if v == nil {
			v = &[2]string{}
			m.last[s.id] = v
		}
		if s.a != nil {
			v[0] = *s.a
		}
		if s.b != nil {
			v[1] = *s.b
		}
	}
}

// explained reports whether a token may be missing in every table. depth
// bounds the way up the chain of parents.
func (m *model) explained(tok, lost string, depth int) bool {
	row, ok := m.born[tok]
	if !ok || m.gone[tok] || m.goneIDs[row.id] || strings.Contains(lost, tok) {
		return true
	}
	if row.table == nil || row.table.onDelete != "CASCADE" || depth == 0 {
		return false
	}
	if row.table.parent.natural && m.thinned[row.table.parent] {
		return true // keys change hands: no telling which row was its parent in the end
	}
	for _, p := range m.parents[tok] { // it went along with one of them
		if _, ok := m.born[p]; ok && (m.gone[p] || m.goneIDs[m.born[p].id] || m.explained(p, "", depth-1)) {
			return true
		}
	}
	return false
}

// missing returns the inserted tokens that are nowhere.
func (m *model) missing(s *state) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tok, row := range m.born {
		if s.tokens[tok] == 0 && !m.explained(tok, s.lost, 20) {
			where := "notes"
			if row.table != nil {
				where = row.table.name
			}
			out = append(out, fmt.Sprintf("%s, inserted into %s, is neither there, nor deleted, nor in agentdb_conflicts", tok, where))
		}
	}
	for tok, table := range m.made {
		if tok != "" && s.tokens[tok] == 0 && !m.dropped[table] && !strings.Contains(s.lost, tok) {
			out = append(out, fmt.Sprintf("%s, inserted into %s, is gone", tok, table))
		}
	}
	for tok, n := range s.tokens {
		if n > 1 {
			out = append(out, fmt.Sprintf("%s is there %d times", tok, n))
		}
	}
	return out
}

// stale returns the columns whose value is not the last that was pushed.
func (m *model) stale(snap snapshot) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range snap {
		want := m.last[row.id]
		if row.table == nil || want == nil || m.blurred[row.id] {
			continue
		}
		if row.a != want[0] || row.b != want[1] {
			out = append(out, fmt.Sprintf("%s (%s): a = %s, b = %s, the last pushed were %s and %s", row.id, row.tok, row.a, row.b, want[0], want[1]))
		}
	}
	return out
}
