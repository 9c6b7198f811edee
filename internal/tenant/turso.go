package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// TursoPush is what a Turso sync client pushes in one batch.
type TursoPush struct {
	// Client, Gen and ChangeID are its mark: who it is, how many pulls have
	// brought it pages, and the number of the last change in the push. Without
	// a mark nothing is pushed.
	Marked   bool
	Client   string
	Gen      uint64
	ChangeID uint64
	Writes   []Query
}

// maxClient is the longest name of a client, in bytes.
const maxClient = 120

// Push applies a push as one transaction, by the same rules as those of our own
// clients: a row that loses its place gets another or is recorded, and nothing
// is refused as a whole. A push that was applied before is not applied again.
func (s *Session) Push(ctx context.Context, p *TursoPush) error {
	if !s.cfg.Write {
		return &sqlite.Error{Code: sqlite.CodeReadOnly, Message: "attempt to write a readonly database: the token, or block_writes of the database, allows reading only", Offset: -1}
	}
	if s.cfg.Scope != nil {
		return &sqlite.Error{Code: sqlite.CodeAuth, Message: "Turso's sync clients can't push with a token for some tables: use SQL over HTTP, or a token without tables", Offset: -1}
	}
	if !p.Marked {
		return nil
	}
	if len(p.Client) > maxClient {
		return &sqlite.Error{Code: sqlite.CodeTooBig, Message: fmt.Sprintf("the client's name has more than %d bytes", maxClient), Offset: -1}
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.d.guest.active = false
	t, err := s.d.newTursoRun(ctx, p)
	if err != nil || t.repeated {
		return err
	}
	err = t.commit(ctx)
	if errors.Is(err, change.ErrTooMuch) || sqlite.IsInterrupt(err) {
		return &sqlite.Error{Code: sqlite.CodeTooBig, Message: "the push writes more, or takes longer, than this server allows: push in smaller steps (pushOperationsThreshold)", Offset: -1}
	}
	return err
}

// tursoRun is a push on its way into a commit. The gate is held.
type tursoRun struct {
	d        *database
	p        *TursoPush
	author   string
	repeated bool
	before   *tursoState // nil if the client never pushed

	basis
	unseen   unseenSince
	unseenBy unseenSince // of what the client has run again, if the basis is exact

	parsed  []turso.Write
	inserts map[string]int // the last insertion of each row with a key
	skipped map[*Query]error

	// What follows is of one attempt.
	attempt
	x       *change.Executor
	in      *change.Intents
	state   *tursoState
	replay  *tursoState // if replayed, that of the pushes before
	batch   []*tursoOp
	waiting map[int][]int             // statements that wait for another one
	deleted map[string]map[int64]bool // ids that the push has deleted
}

// newTursoRun finds out what is known of a push's client.
func (d *database) newTursoRun(ctx context.Context, p *TursoPush) (*tursoRun, error) {
	t := &tursoRun{d: d, p: p, author: "turso/" + p.Client}
	var err error
	err = d.marksDo(func() (err error) { t.repeated, err = t.isRepeated(); return err })
	if err != nil || t.repeated {
		return t, err
	}
	if t.before, err = d.tursoState(ctx, p.Client); err != nil {
		return nil, err
	}
	stamped, err := t.stamped(ctx)
	if err == nil && !stamped {
		err = t.guess(ctx)
	}
	return t, err
}

// isRepeated reports whether the mark says that the push was applied: a client
// whose answer was lost asks first, but what lies between may send it again.
func (t *tursoRun) isRepeated() (bool, error) {
	st, err := t.d.conn.Cached("SELECT pull_gen, change_id FROM main." + turso.MarkTable + " WHERE client_id=?")
	if err != nil {
		return false, nil //nolint:nilerr // there is no such table yet
	}
	defer st.Done()
	if err := st.BindText(1, t.p.Client); err != nil {
		return false, err
	}
	row, err := st.Step()
	if err != nil || !row {
		return false, err
	}
	gen, id := uint64(st.ColumnInt64(0)), uint64(st.ColumnInt64(1))
	return gen > t.p.Gen || gen == t.p.Gen && id >= t.p.ChangeID, nil
}

// commit applies the push and appends it to the history. A client may have
// foreign keys off, and write in any order: if one is violated, they are checked
// at the end instead; if there still is a violation, what violates them at once
// is refused; if that doesn't help, everything is.
func (t *tursoRun) commit(ctx context.Context) error {
	for _, try := range []attempt{{strict: true}, {deferred: true}, {}, {refuse: "FOREIGN KEY constraint failed at the end of the transaction"}} {
		t.attempt = try
		t.d.limitTime()
		ch, violated, err := t.run()
		for errors.Is(err, errAgain) {
			t.rollback()
			ch, violated, err = t.run()
		}
		t.d.clock.Stop()
		if err == nil && !violated {
			err = t.append(ctx, ch)
		} else {
			t.rollback()
		}
		if try.deferred {
			// Statements that were prepared meanwhile are good for nothing else.
			err = errors.Join(err, t.d.conn.Exec("PRAGMA defer_foreign_keys=OFF"))
		}
		if err != nil || !violated {
			return err
		}
	}
	return fmt.Errorf("tenant: a push of %s violates a foreign key even when refused", t.p.Client)
}

// attempt says how a push is run.
type attempt struct {
	strict   bool   // a violated foreign key ends it
	deferred bool   // foreign keys are checked at the end
	refuse   string // why every write is refused, if it is
}

// Ends of an attempt.
var (
	// errViolated: a strict one violated a foreign key.
	errViolated = errors.New("tenant: a foreign key is violated")
	// errAgain: a statement rolled the transaction back, and is now skipped.
	errAgain = errors.New("tenant: a statement rolled a push back")
)

func (t *tursoRun) rollback() {
	if !t.d.conn.AutoCommit() {
		if err := t.d.conn.ExecArgs("ROLLBACK"); err != nil {
			t.d.fail()
		}
	}
	t.d.cap.Discard()
}

// run runs the push within a transaction, up to its COMMIT.
func (t *tursoRun) run() (ch *change.Change, violated bool, err error) {
	d := t.d
	if err := t.begin(); err != nil {
		return nil, false, err
	}
	// The client has run its triggers, and pushes what they did.
	var policies []string
	if d.cap.Triggers() {
		if err := d.cap.EnableTriggers(false); err != nil {
			return nil, false, err
		}
		defer func() { err = errors.Join(err, d.cap.EnableTriggers(true)) }()
		if policies, err = t.policies(); err != nil {
			return nil, false, err
		}
	}
	if err := t.writes(); err != nil {
		return nil, errors.Is(err, errViolated), unless(err, errViolated)
	}
	if violated, err = d.conn.DeferredFKs(); err != nil || violated {
		return nil, violated, err
	}
	if err := t.keepCascaded(); err != nil {
		return nil, false, err
	}
	if ch, err = d.cap.Finish(); err != nil {
		return nil, false, err
	}
	if err := t.unmake(policies); err != nil {
		return nil, false, err
	}
	return ch, false, t.d.marksDo(t.mark)
}

// unless returns err unless it is of that kind.
func unless(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

func (t *tursoRun) begin() error {
	d := t.d
	if err := d.conn.ExecArgs("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if d.head.Seq == 0 {
		if err := d.conn.Exec(change.ConflictsSchema); err != nil {
			return fmt.Errorf("tenant: %w", err)
		}
	}
	if t.deferred {
		if err := d.conn.Exec("PRAGMA defer_foreign_keys=ON"); err != nil {
			return err
		}
	}
	return d.cap.Begin()
}

// mark writes the client's mark, which no capture sees: it is nobody else's
// business.
func (t *tursoRun) mark() error {
	k := t.d.cap
	k.Suspend()
	defer k.Resume()
	if err := t.stamps(); err != nil {
		return err
	}
	err := t.d.conn.ExecArgs("INSERT INTO main."+turso.MarkTable+"(client_id, pull_gen, change_id) VALUES(?,?,?) "+
		"ON CONFLICT(client_id) DO UPDATE SET pull_gen=excluded.pull_gen, change_id=excluded.change_id",
		sqlite.Text(t.p.Client), sqlite.Int(int64(t.p.Gen)), sqlite.Int(int64(t.p.ChangeID)))
	if err != nil {
		return fmt.Errorf("tenant: mark of %s: %w", t.p.Client, err)
	}
	return nil
}

// stamps makes the table of marks, and what stamps in it, unless it is there.
func (t *tursoRun) stamps() error {
	there := false
	if st, err := t.d.conn.Cached("SELECT 1 FROM main." + turso.MarkTable + " WHERE rowid=" + turso.StampRow); err == nil {
		there, err = st.Step()
		st.Done()
		if err != nil {
			return fmt.Errorf("tenant: table of marks: %w", err)
		}
	}
	if there {
		return nil
	}
	if err := t.d.conn.Exec(turso.StampSchema); err != nil {
		return fmt.Errorf("tenant: table of marks: %w", err)
	}
	return nil
}

// append commits, and appends the commit to the history.
func (t *tursoRun) append(ctx context.Context, ch *change.Change) error {
	d := t.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.conn.ExecArgs("COMMIT"); err != nil {
		t.rollback()
		return err
	}
	d.cap.Discard()
	if err := d.append(ctx, ch, t.author, map[string][]byte{tursoKey(t.p.Client): t.state.encode()}); err != nil {
		return err
	}
	d.turso.put(t.p.Client, t.state)
	if ch != nil {
		d.m.meters.add(d.name, Usage{RowsWritten: uint64(ch.Rows()), BytesSynced: uint64(ch.Size())})
	}
	return nil
}

// conflict records what a write lost.
func (t *tursoRun) conflict(c *change.Conflict) error {
	if t.strict && c.Kind == "foreign-key" {
		return errViolated
	}
	t.d.m.stats.conflicts.Add(1)
	return c.Insert(t.d.conn, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), t.author, t.p.ChangeID)
}

// keepCascaded records the rows that foreign keys deleted though the client
// can't have known them.
func (t *tursoRun) keepCascaded() error {
	for _, e := range t.d.cap.Cascaded() {
		known, err := t.unseen.knows(e.RowKey())
		if err != nil {
			return err
		}
		if !known {
			if err := t.conflict(e.CascadeConflict()); err != nil {
				return err
			}
		}
	}
	return nil
}

// past is a database as it was at a revision: which rows there were.
type past struct {
	seq   uint64
	img   *turso.Image
	roots map[string]uint32
	tops  map[string]int64
	texts []string // of its triggers, if they were read
}

func (d *database) past(seq uint64) *past {
	return &past{seq: seq, img: d.m.image(context.Background(), d.id(), seq), roots: map[string]uint32{}, tops: map[string]int64{}}
}

func (p *past) root(table string) (uint32, error) {
	root, ok := p.roots[table]
	if !ok && p.seq > 0 {
		var err error
		if root, err = p.img.Root(table); err != nil {
			return 0, err
		}
		p.roots[table] = root
	}
	return root, nil
}

// has reports whether a table had a row with that id. Of a revision that is
// unknown, or given up, nothing is known.
func (p *past) has(table string, id int64) (bool, error) {
	if p == nil {
		return false, nil
	}
	root, err := p.root(table)
	if err != nil || root == 0 {
		return false, gaveUp(err)
	}
	ok, err := p.img.HasRow(root, id)
	return ok, gaveUp(err)
}

// top returns the highest rowid of a table.
func (p *past) top(table string) (int64, error) {
	root, err := p.root(table)
	if err != nil || root == 0 {
		return 0, gaveUp(err)
	}
	if n, ok := p.tops[table]; ok {
		return n, nil
	}
	n, err := p.img.MaxRowID(root)
	p.tops[table] = n
	return n, gaveUp(err)
}

// gaveUp forgives that a revision is beyond the retention's horizon.
func gaveUp(err error) error {
	if errors.Is(err, history.ErrHorizon) {
		return nil
	}
	return err
}

// unseenSince are the rows that others have written since a client's base.
type unseenSince struct {
	d     *database
	me    string
	after uint64
	many  bool // they are not known
	read  bool
	u     unseen
}

// knows reports whether the client knew a row as it is.
func (s *unseenSince) knows(row string) (bool, error) {
	known, err := s.known()
	return known && !s.u.rows[row], err
}

// saw is like it for a column of a row, "" for any.
func (s *unseenSince) saw(row, column string) (bool, error) {
	if column == "" {
		return s.knows(row)
	}
	known, err := s.known()
	return known && !s.u.cols[row+"\x00"+column], err
}

// known reports whether the rows are known.
func (s *unseenSince) known() (bool, error) {
	if !s.read && !s.many {
		if err := s.load(); err != nil {
			return false, err
		}
	}
	return !s.many && !s.u.many, nil
}

func (s *unseenSince) load() error {
	s.read, s.u.rows, s.u.cols = true, map[string]bool{}, map[string]bool{}
	d := s.d
	dec := change.Decoder{Budget: d.m.cfg.MaxDecoded}
	d.mu.Lock()
	recent := d.recent.list
	recent = recent[:len(recent):len(recent)]
	d.mu.Unlock()
	if upto := d.head.Seq; upto > s.after && (len(recent) == 0 || recent[0].seq > s.after+1) {
		if len(recent) > 0 {
			upto = recent[0].seq - 1
		}
		for c, err := range d.m.cfg.Store.Commits(context.Background(), d.id(), s.after, upto) {
			if err != nil {
				s.many = true // too long ago
				return nil
			}
			if err := s.u.add(&dec, c.Author == s.me, c.Change); err != nil || s.u.many {
				return err
			}
		}
	}
	for i := range recent {
		if recent[i].seq > s.after && !s.u.many {
			if err := s.u.add(&dec, recent[i].author == s.me, recent[i].body); err != nil {
				return err
			}
		}
	}
	return nil
}
